"""Which layers slide, as a Hugging Face config says it: every family has words of its own."""

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
_WINDOW, _FIRST_SLIDING, _PATTERN = 4096, 28, 6


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
    if family is LLAMA:
        return 0, (), []
    numbers = {
        "sliding_window": _WINDOW,
        "sliding_window_pattern": _PATTERN,
        "max_window_layers": _FIRST_SLIDING,
    }
    given = {name: raw.get(name, default) for name, default in numbers.items()}
    given = {name: given[name] for name in LAYER_FIELDS[family.name] if name in given}
    slides = raw.get("use_sliding_window", False) if "max_window_layers" in given else True
    if not isinstance(slides, bool):
        return 0, (), [f"use_sliding_window is {slides!r}, must be true or false"]
    window = given["sliding_window"] if slides else None
    faults = [
        f"{name} is {value!r}, must be a positive integer"
        for name, value in given.items()
        if (isinstance(value, bool) or not isinstance(value, int) or value < 1)
        and not (name == "sliding_window" and window is None)
        and not (name == "max_window_layers" and (not slides or value == 0))
    ]
    types = raw.get("layer_types") if family is not MISTRAL else None
    if types is not None and (
        not isinstance(types, list) or len(types) != layers or not set(types) <= set(_TYPES)
    ):
        faults.append(f"layer_types must name one of {_TYPES} for each of {layers} layers")
    if faults:
        return 0, (), faults
    if types is not None:
        sliding = tuple(each == "sliding_attention" for each in types)
    elif family is GEMMA3:
        sliding = tuple(
            (layer + 1) % given["sliding_window_pattern"] > 0 for layer in range(layers)
        )
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
