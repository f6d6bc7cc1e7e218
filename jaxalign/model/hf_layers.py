"""Which layers slide, as a Hugging Face config says it: every family has words of its own."""

from collections.abc import Callable
from typing import Any

from jaxalign.model.architecture import GEMMA3, LLAMA, MISTRAL, DecoderConfig, Family

_TYPES = ("full_attention", "sliding_attention")
_QWEN_FIELDS = ("use_sliding_window", "sliding_window", "max_window_layers", "layer_types")
LAYER_FIELDS: dict[str, tuple[str, ...]] = {
    "llama": (),
    "mistral": ("sliding_window",),
    "qwen2": _QWEN_FIELDS,
    "qwen3": _QWEN_FIELDS,
    "gemma3_text": (
        "sliding_window",
        "sliding_window_pattern",
        "layer_types",
        "rope_local_base_freq",
    ),
}
# Of transformers' config classes.
_DEFAULTS = {
    "use_sliding_window": False,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
    "max_window_layers": 28,
}


def _is_count(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "use_sliding_window": (lambda value: isinstance(value, bool), "true or false"),
    "sliding_window": (lambda value: value is None or _is_count(value), "a positive integer"),
    "sliding_window_pattern": (_is_count, "a positive integer"),
    "max_window_layers": (lambda value: _is_count(value, 0), "a number of layers"),
}


def read_layers(
    raw: dict[str, Any], family: Family, layers: int
) -> tuple[int, tuple[bool, ...], list[str]]:
    """Read which layers slide, and how far they see.

    Args:
      raw: the whole config.json object.
      family: of the model.
      layers: their number.

    Returns:
      `(window, sliding_layers, faults)` as of `DecoderConfig`; the first two count only if there
      are no faults.
    """
    fields = LAYER_FIELDS[family.name]
    given = {name: raw.get(name, _DEFAULTS[name]) for name in fields if name in _DEFAULTS}
    faults = [
        f"{name} is {given[name]!r}, must be {right}"
        for name, (is_right, right) in _CHECKS.items()
        if name in given and not is_right(given[name])
    ]
    types = raw.get("layer_types") if "layer_types" in fields else None
    if types is not None and (
        not isinstance(types, list) or len(types) != layers or not set(types) <= set(_TYPES)
    ):
        faults.append(f"layer_types must name one of {_TYPES} for each of {layers} layers")
    if faults:
        return 0, (), faults
    window = given.get("sliding_window") if given.get("use_sliding_window", True) else None
    if types is not None:
        sliding = tuple(each == "sliding_attention" for each in types)
    elif family is GEMMA3:
        pattern = given["sliding_window_pattern"]
        sliding = tuple((layer + 1) % pattern > 0 for layer in range(layers))
    else:
        first = given.get("max_window_layers", 0)
        sliding = tuple(window is not None and layer >= first for layer in range(layers))
    if not any(sliding):
        return 0, (), []
    if window is None:
        return 0, (), ["layer_types has sliding_attention, but there is no sliding_window"]
    return window, sliding, []


def layers_to_hf(config: DecoderConfig) -> dict[str, Any]:
    """Return the fields of config.json that `read_layers` reads back."""
    family = config.family
    if family is LLAMA:
        return {}
    window = {"sliding_window": config.window or None}
    if family is MISTRAL:
        return window
    sliding = config.sliding_layers or (False,) * config.layers
    fields = window | {"layer_types": [_TYPES[each] for each in sliding]}
    return fields if family is GEMMA3 else fields | {"use_sliding_window": bool(config.window)}
