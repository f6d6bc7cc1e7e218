"""Read a Hugging Face config.json of one of our families, and refuse what we do not implement.

A field that is silently ignored gives a model that runs and is wrong. So a field that transformers
reads for this model type and that alters the forward pass is used or refused by name; one that it
does not read either is named in a warning. All faults of a file come in one message.
"""

import dataclasses
import functools
import json
import logging
from collections.abc import Callable
from typing import Any

from etils import epath

from jaxalign.errors import UserError
from jaxalign.files import explain
from jaxalign.model.architecture import FAMILIES, GEMMA3, DecoderConfig, Family
from jaxalign.model.gguf import config_of_gguf, is_gguf
from jaxalign.model.hf_layers import LAYER_FIELDS, layers_to_hf, read_layers
from jaxalign.model.hf_rope import ROPE_FIELDS, RopeConfig, read_ropes, rope_to_hf

_LOG = logging.getLogger(__name__)

ACTIVATIONS = ("silu", "swish", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu")

# Fields that change nothing in a forward pass without dropout, cache or generation.
INERT_FIELDS = frozenset(
    """
    _attn_implementation_autoset _commit_hash _flash_attn_2_enabled _name_or_path
    _sliding_window_pattern add_cross_attention architectures attention_dropout attn_implementation
    bos_token_id cache_implementation chunk_size_feed_forward cross_attention_hidden_size dtype
    eos_token_id finetuning_task id2label initializer_range is_decoder is_encoder_decoder
    is_llama_config label2id model_type name_or_path num_labels output_attentions
    output_hidden_states pad_token_id prefix pretraining_tp problem_type pruned_heads return_dict
    sep_token_id task_specific_params tf_legacy_loss tie_encoder_decoder tie_last_hidden_states
    tokenizer_class torch_dtype torchscript transformers.js_config transformers_version
    unk_token_id unsloth_fixed unsloth_version use_bfloat16 use_cache
    bad_words_ids begin_suppress_tokens decoder_start_token_id diversity_penalty do_sample
    early_stopping encoder_no_repeat_ngram_size exponential_decay_length_penalty
    forced_bos_token_id forced_eos_token_id length_penalty max_length max_new_tokens min_length
    no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_scores
    remove_invalid_values repetition_penalty return_dict_in_generate suppress_tokens temperature
    top_k top_p typical_p
    """.split()
)

# Fields that transformers reads, with the values that ask for nothing we do not implement.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "is_causal": (True,),
    "partial_rotary_factor": (None, 1.0),
    "per_layer_config": (None, {}),
}
_HARMLESS_GEMMA: dict[str, tuple[Any, ...]] = _HARMLESS | {
    "attn_logit_softcapping": (None,),
    "final_logit_softcapping": (None,),
    "use_bidirectional_attention": (None, False),
}
_QUANTIZED = ("quantization_config", "compression_config")

# Hugging Face's name of every field that is a plain value: (our field, check, what is right).
_Check = Callable[[Any], bool]


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_epsilon(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


_SIZE = (_is_size, "a positive integer")
_FLAG = (_is_flag, "true or false")
_ACTIVATION = (lambda name: name in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}")
FIELDS: dict[str, tuple[str, _Check, str]] = {
    "vocab_size": ("vocab_size", *_SIZE),
    "hidden_size": ("width", *_SIZE),
    "num_hidden_layers": ("layers", *_SIZE),
    "num_attention_heads": ("heads", *_SIZE),
    "num_key_value_heads": ("kv_heads", *_SIZE),
    "head_dim": ("head_dim", *_SIZE),
    "intermediate_size": ("mlp_width", *_SIZE),
    "rms_norm_eps": ("norm_eps", _is_epsilon, "a number from 0 to 1"),
    "hidden_act": ("activation", *_ACTIVATION),
    "hidden_activation": ("activation", *_ACTIVATION),
    "attention_bias": ("attention_bias", *_FLAG),
    "mlp_bias": ("mlp_bias", *_FLAG),
    "tie_word_embeddings": ("tied", *_FLAG),
    "max_position_embeddings": ("max_positions", *_SIZE),
    "query_pre_attn_scalar": ("query_pre_attn_scalar", _is_positive, "a positive number"),
}
_REQUIRED = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
)
# Of FIELDS, those that transformers does not read for a model type.
_UNREAD = {
    "llama": {"hidden_activation", "query_pre_attn_scalar"},
    "mistral": {"hidden_activation", "query_pre_attn_scalar", "attention_bias", "mlp_bias"},
    "qwen2": {"hidden_activation", "query_pre_attn_scalar", "attention_bias", "mlp_bias"},
    "qwen3": {"hidden_activation", "query_pre_attn_scalar", "mlp_bias"},
    "gemma3_text": {"hidden_act", "mlp_bias"},
}
# Defaults of transformers' config classes where they are not those of `DecoderConfig`. Where
# neither the file nor this names them, kv_heads is heads, and head_dim width / heads.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"kv_heads": 8, "max_positions": 131072},
    "qwen2": {"kv_heads": 32, "max_positions": 32768, "attention_bias": True},
    "qwen3": {"kv_heads": 32, "head_dim": 128, "max_positions": 32768},
    "gemma3_text": {
        "kv_heads": 4,
        "head_dim": 256,
        "activation": "gelu_pytorch_tanh",
        "tied": True,
        "max_positions": 131072,
        "query_pre_attn_scalar": 256,
    },
}
_DERIVED_WHEN_NULL = ("num_key_value_heads", "head_dim")


def parse_config(raw: dict[str, Any], source: str) -> DecoderConfig:
    """Turn the contents of a config.json into a `DecoderConfig`.

    Args:
      raw: the parsed JSON object, in the dialect of transformers 4 or 5.
      source: the file's name, for messages.

    Raises:
      UserError: naming every field that is wrong or not implemented.
    """
    family = _find_family(raw, source)
    read, harmless, known = fields_of(family), _harmless(family), known_fields(family)
    unknown = [name for name, value in raw.items() if name not in known and value is not None]
    faults = [
        f"{name}={json.dumps(raw[name], default=str)[:80]} is not implemented"
        for name, values in harmless.items()
        if name in raw and raw[name] not in values
    ]
    values = dict(_DEFAULTS[family.name])
    for name, (field, is_right, right) in read.items():
        if name not in raw:
            continue
        if raw[name] is None and name in _DERIVED_WHEN_NULL:
            values.pop(field, None)
        elif is_right(raw[name]):
            values[field] = raw[name]
        else:
            faults.append(f"{name} is {raw[name]!r}, must be {right}")

    config = DecoderConfig(family=family, **values)
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
    window, sliding_layers, layer_faults = read_layers(raw, family, config.layers)
    ropes, rope_faults = read_ropes(raw, config.max_positions, by_kind=family is GEMMA3)
    faults += layer_faults + rope_faults
    if faults:
        raise UserError(f"{source}: " + "; ".join(faults))
    if unknown:
        _warn_once(source, family.name, tuple(unknown))
    return dataclasses.replace(
        config,
        rope=ropes[0],
        window=window,
        sliding_layers=sliding_layers,
        local_rope=ropes[1] if sliding_layers else None,
    )


def fields_of(family: Family) -> dict[str, tuple[str, _Check, str]]:
    """Return the part of `FIELDS` that transformers reads for a model type."""
    return {name: row for name, row in FIELDS.items() if name not in _UNREAD[family.name]}


def known_fields(family: Family) -> set[str]:
    """Return all fields that are used, refused or known to change nothing for a model type."""
    layers = LAYER_FIELDS[family.name]
    return {*fields_of(family), *_harmless(family), *ROPE_FIELDS, *layers, *INERT_FIELDS}


def _harmless(family: Family) -> dict[str, tuple[Any, ...]]:
    return _HARMLESS_GEMMA if family is GEMMA3 else _HARMLESS


def _find_family(raw: dict[str, Any], source: str) -> Family:
    """Refuse at once what is no model of ours, or has no sizes or quantised weights."""
    model_type = raw.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise UserError(
            f"{source}: model_type is {model_type!r}; jaxalign implements {', '.join(FAMILIES)}"
        )
    for name in _QUANTIZED:
        if raw.get(name) is not None:
            method = raw[name].get("quant_method") if isinstance(raw[name], dict) else None
            raise UserError(
                f"{source}: {name}{f' ({method})' * bool(method)}: these weights are quantised, "
                "and jaxalign quantises for itself: give the unquantised model as model.path, with "
                "model.quantization=int8"
            )
    if missing := [name for name in _REQUIRED if name not in raw]:
        raise UserError(f"{source}: {', '.join(missing)} must be given for a {model_type} model")
    return FAMILIES[model_type]


@functools.cache
def _warn_once(source: str, model_type: str, names: tuple[str, ...]) -> None:
    _LOG.warning(
        "%s: ignored %s, which transformers does not read either for a %s model",
        source,
        ", ".join(names),
        model_type,
    )


def read_config(folder: epath.PathLike) -> DecoderConfig:
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
        reason = explain(str(path), str(error))
        raise UserError(f"{path}: cannot be read as JSON ({reason})") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: must be a JSON object, is a {type(raw).__name__}")
    return raw


def to_hf(config: DecoderConfig) -> dict[str, Any]:
    """Return the config.json contents that transformers 5 and `parse_config` read back."""
    family = config.family
    fields = {name: getattr(config, field) for name, (field, _, _) in fields_of(family).items()}
    rope = rope_to_hf(config.rope)
    if family is GEMMA3:
        local = rope_to_hf(config.local_rope or RopeConfig())
        rope = {"full_attention": rope, "sliding_attention": local}
    return (
        {"architectures": [family.architecture], "model_type": family.name}
        | fields
        | layers_to_hf(config)
        | {"rope_parameters": rope}
    )
