"""PEFT's prompt tuning: the config beside an adapter's weights, written and checked."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from jaxalign.errors import UserError
from jaxalign.interchange.base import BaseModel

_LOG = logging.getLogger(__name__)
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
# P-tuning saves the rows that its encoder makes; multitask tuning factors of them.
_P_TUNING, _MULTITASK = "P_TUNING", "MULTITASK_PROMPT_TUNING"
_TASKS = ("prefix_task_cols", "prefix_task_rows")
# What an adapter of rows before a decoder's input has; PEFT fills in what is null.
_FIXED = {
    "peft_type": ("PROMPT_TUNING", _P_TUNING, _MULTITASK),
    "task_type": ("CAUSAL_LM", None),
    "num_transformer_submodules": (1, None),
}
_AGAIN = "save the adapter again with PEFT's save_pretrained"


def adapter_config(base: BaseModel, rows: int) -> dict[str, Any]:
    """Return the content of adapter_config.json, with the fields that PEFT saves.

    Args:
      base: the model that it is for.
      rows: L, of the prompt.
    """
    return {
        "auto_mapping": None,
        "base_model_name_or_path": base.name,
        "inference_mode": True,
        "num_attention_heads": base.config.heads,
        "num_layers": base.config.layers,
        "num_transformer_submodules": 1,
        "num_virtual_tokens": rows,
        "peft_type": "PROMPT_TUNING",
        "prompt_tuning_init": "RANDOM",  # PEFT draws it so, and then reads the weights over it
        "prompt_tuning_init_text": None,
        "revision": base.revision,
        "task_type": "CAUSAL_LM",
        "token_dim": base.config.width,
        "tokenizer_kwargs": None,
        "tokenizer_name_or_path": None,
    }


@dataclasses.dataclass(frozen=True)
class Described:
    """What an adapter's config says.

    Attributes:
      rows, width: L and D; None where one is missing.
      base: the model that it was made for; empty where that is missing.
    """

    rows: Any = None
    width: Any = None
    base: str = ""


def read_adapter_config(path: Path, where: str) -> Described:
    """Read adapter_config.json.

    Args:
      path: of the file.
      where: names the adapter in messages.

    Raises:
      UserError: it cannot be read, or is of a method or task that has no rows before the input.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{where}: cannot read {CONFIG} ({reason}); {_AGAIN}") from error
    if not isinstance(config, dict):
        raise UserError(f"{where}: {CONFIG} is not a JSON object; {_AGAIN}")
    for key, allowed in _FIXED.items():
        if config.get(key) not in allowed:
            raise UserError(
                f"{where}: {CONFIG} has {key}={config.get(key)!r}, and must have {allowed[0]!r}: "
                "only prompt tuning of a causal language model is rows before its input"
            )
    base = config.get("base_model_name_or_path")
    return Described(
        config.get("num_virtual_tokens"),
        config.get("token_dim"),
        base if isinstance(base, str) else "",
    )


def rows_of(tensors: dict[str, np.ndarray], name: str, where: str) -> np.ndarray:
    """Return an adapter's rows, of multitask tuning those of its only task.

    Args:
      tensors: of the adapter's weights.
      name: of the rows.
      where: names the adapter in messages.

    Raises:
      UserError: it has several tasks, or tensors that do not fit together.
    """
    if not set(_TASKS) <= set(tensors):
        return tensors[name]
    columns_TLK, rows_TKD = (tensors[each] for each in _TASKS)
    if len(columns_TLK) != 1 or len(rows_TKD) != 1:
        raise UserError(
            f"{where}: holds prompts for {len(columns_TLK)} tasks, and a soft prompt is one: save "
            "the product of one task's as a prompt-tuning adapter"
        )
    try:
        return tensors[name] * (columns_TLK[0] @ rows_TKD[0])
    except ValueError as error:
        raise UserError(f"{where}: its tensors do not fit together ({error}); {_AGAIN}") from None


def warn_of_other_base(base: str, model: str, where: str) -> None:
    """Warn if an adapter was made for another model, which its width need not tell.

    Args:
      base: its base, a hub id or path; empty if unknown.
      model: `model.path`.
      where: names the adapter in the message.
    """
    made_for, asked = (Path(each).name.casefold().removesuffix(".gguf") for each in (base, model))
    if base and model and made_for != asked:
        _LOG.warning(
            "%s was made for the model %s, and model.path is %s: its rows mean nothing to another "
            "model, though it may be as wide",
            where,
            base,
            model,
        )
