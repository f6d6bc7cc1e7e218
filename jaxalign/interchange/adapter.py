"""PEFT's prompt tuning: the config beside an adapter's weights, written and checked."""

import json
from pathlib import Path
from typing import Any

from jaxalign.errors import UserError
from jaxalign.interchange.base import BaseModel

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
# What an adapter of rows before a decoder's input has; PEFT fills in what is null.
_FIXED = {
    "peft_type": ("PROMPT_TUNING",),
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


def adapter_shape(path: Path, where: str) -> tuple[Any, Any]:
    """Return the shape [L, D] in an adapter's config; None where a size is missing.

    Args:
      path: of adapter_config.json.
      where: names the adapter in messages.

    Raises:
      UserError: it cannot be read, or is of another method or task than ours.
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
    return config.get("num_virtual_tokens"), config.get("token_dim")
