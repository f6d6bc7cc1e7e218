"""Read a Hugging Face config.json of model type `llama`, and refuse what we do not implement.

A field that is silently ignored gives a model that runs and is wrong, so a field is either used,
known to change nothing at inference, or refused by name. All faults of a file come in one message.
"""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from etils import epath

from jaxalign.errors import UserError
from jaxalign.model.gguf import config_of_gguf, is_gguf
from jaxalign.model.hf_rope import RopeConfig, read_rope, rope_to_hf

ACTIVATIONS = ("silu", "swish", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu")

# Fields that change nothing in a forward pass without dropout, cache or generation.
INERT_FIELDS = frozenset(
    """
    _attn_implementation_autoset _commit_hash _flash_attn_2_enabled _name_or_path architectures
    attention_dropout attn_implementation bos_token_id chunk_size_feed_forward dtype eos_token_id
    finetuning_task id2label initializer_range is_llama_config label2id name_or_path num_labels
    output_attentions output_hidden_states pad_token_id prefix pretraining_tp problem_type
    return_dict sep_token_id task_specific_params tie_last_hidden_states tokenizer_class
    torch_dtype torchscript transformers.js_config transformers_version unk_token_id
    unsloth_fixed unsloth_version use_bfloat16 use_cache
    bad_words_ids begin_suppress_tokens decoder_start_token_id diversity_penalty do_sample
    early_stopping encoder_no_repeat_ngram_size exponential_decay_length_penalty
    forced_bos_token_id forced_eos_token_id length_penalty max_length max_new_tokens min_length
    no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_scores
    remove_invalid_values repetition_penalty return_dict_in_generate suppress_tokens temperature
    top_k top_p typical_p
    """.split()
)

# Fields that are harmless with these values only, because any other value asks for another model.
HARMLESS_VALUES: dict[str, tuple[Any, ...]] = {
    "add_cross_attention": (False,),
    "cross_attention_hidden_size": (None,),
    "is_decoder": (False, True),
    "is_encoder_decoder": (False,),
    "partial_rotary_factor": (None, 1.0),
    "per_layer_config": (None,),
    "pruned_heads": (None, {}),
    "quantization_config": (None,),
    "rope_interleaved": (None, False),
    "sliding_window": (None,),
    "tf_legacy_loss": (False,),
    "tie_encoder_decoder": (False,),
    "use_sliding_window": (None, False),
}


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
    """The architecture of one Llama checkpoint; defaults are those of transformers' LlamaConfig."""

    vocab_size: int = 32000
    width: int = 4096
    layers: int = 32
    heads: int = 32
    kv_heads: int = 32
    head_dim: int = 128
    mlp_width: int = 11008
    norm_eps: float = 1e-6
    activation: str = "silu"
    attention_bias: bool = False
    mlp_bias: bool = False
    tied: bool = False
    max_positions: int = 2048
    rope: RopeConfig = dataclasses.field(default_factory=RopeConfig)

    def check_positions(self, longest: int) -> None:
        """Refuse inputs that the model has no positions for.

        Args:
          longest: number of positions of the longest path, soft prompt included.

        Raises:
          UserError: if it exceeds `max_positions`.
        """
        if longest > self.max_positions:
            raise UserError(
                f"the longest question needs {longest} positions, soft prompt included, but the "
                f"model has max_position_embeddings={self.max_positions}: shorten "
                "prompt.length or the survey's texts"
            )


# Hugging Face's name of every field that is a plain value: (our field, check, what is right).
_Check = Callable[[Any], bool]


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_epsilon(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1


FIELDS: dict[str, tuple[str, _Check, str]] = {
    "vocab_size": ("vocab_size", _is_size, "a positive integer"),
    "hidden_size": ("width", _is_size, "a positive integer"),
    "num_hidden_layers": ("layers", _is_size, "a positive integer"),
    "num_attention_heads": ("heads", _is_size, "a positive integer"),
    "num_key_value_heads": ("kv_heads", _is_size, "a positive integer"),
    "head_dim": ("head_dim", _is_size, "a positive integer"),
    "intermediate_size": ("mlp_width", _is_size, "a positive integer"),
    "rms_norm_eps": ("norm_eps", _is_epsilon, "a number from 0 to 1"),
    "hidden_act": (
        "activation",
        lambda name: name in ACTIVATIONS,
        f"one of {', '.join(ACTIVATIONS)}",
    ),
    "attention_bias": ("attention_bias", _is_flag, "true or false"),
    "mlp_bias": ("mlp_bias", _is_flag, "true or false"),
    "tie_word_embeddings": ("tied", _is_flag, "true or false"),
    "max_position_embeddings": ("max_positions", _is_size, "a positive integer"),
}
_ROPE_FIELDS = ("rope_parameters", "rope_scaling", "rope_theta")
_DERIVED_WHEN_NULL = ("num_key_value_heads", "head_dim")


def parse_config(raw: dict[str, Any], source: str) -> LlamaConfig:
    """Turn the contents of a config.json into a `LlamaConfig`.

    Args:
      raw: the parsed JSON object, in the dialect of transformers 4 or 5.
      source: the file's name, for messages.

    Raises:
      UserError: naming every field that is wrong or not implemented.
    """
    model_type = raw.get("model_type")
    if model_type != "llama":
        raise UserError(f"{source}: model_type is {model_type!r}; jaxalign implements 'llama' only")
    faults = [
        f"{name}={json.dumps(value, default=str)[:80]} is not implemented"
        for name, value in raw.items()
        if name not in FIELDS
        and name not in INERT_FIELDS
        and name not in _ROPE_FIELDS
        and name != "model_type"
        and not (name in HARMLESS_VALUES and value in HARMLESS_VALUES[name])
    ]
    values: dict[str, Any] = {}
    for name, (field, is_right, right) in FIELDS.items():
        if name not in raw or (raw[name] is None and name in _DERIVED_WHEN_NULL):
            continue
        if is_right(raw[name]):
            values[field] = raw[name]
        else:
            faults.append(f"{name} is {raw[name]!r}, must be {right}")

    config = LlamaConfig(**values)
    if "kv_heads" not in values:
        config = dataclasses.replace(config, kv_heads=config.heads)
    if "head_dim" not in values:
        config = dataclasses.replace(config, head_dim=config.width // config.heads)
        if config.width % config.heads:
            faults.append(
                f"hidden_size={config.width} is not a multiple of "
                f"num_attention_heads={config.heads}"
            )
    if config.heads % config.kv_heads:
        faults.append(
            f"num_attention_heads={config.heads} is not a multiple of "
            f"num_key_value_heads={config.kv_heads}"
        )
    if config.head_dim % 2:
        faults.append(f"head_dim is {config.head_dim}, must be even")
    rope, rope_faults = read_rope(raw, config.max_positions)
    faults += rope_faults
    if faults:
        raise UserError(f"{source}: " + "; ".join(faults))
    return dataclasses.replace(config, rope=rope)


def read_config(folder: epath.PathLike) -> LlamaConfig:
    """Read the architecture of a model folder or a GGUF file.

    Raises:
      UserError: as `parse_config` and `read_json_of` do.
    """
    path = folder if is_gguf(folder) else epath.Path(folder) / "config.json"
    return parse_config(read_json_of(folder), str(path))


def read_json_of(folder: epath.PathLike, name: str = "config.json") -> dict[str, Any]:
    """Return a JSON object of a model folder, or what config.json would say of a GGUF file.

    Raises:
      UserError: it is missing or unreadable.
    """
    if is_gguf(folder):
        return config_of_gguf(folder)
    path = epath.Path(folder) / name
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path}: not found; a model folder holds config.json and *.safetensors"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: must be a JSON object, is a {type(raw).__name__}")
    return raw


def to_hf(config: LlamaConfig) -> dict[str, Any]:
    """Return the config.json contents that transformers 5 and `parse_config` read back."""
    fields = {name: getattr(config, field) for name, (field, _, _) in FIELDS.items()}
    rope = {"rope_parameters": rope_to_hf(config.rope)}
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama"} | fields | rope
