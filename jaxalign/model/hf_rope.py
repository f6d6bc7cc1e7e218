"""The rotary part of a Hugging Face config, in the dialects of transformers 4 and 5."""

import dataclasses
import math
from typing import Any

DEFAULT_THETA = 10000.0
ROPE_FIELDS = ("rope_parameters", "rope_scaling", "rope_theta")

# Per type: the keys that must be there, and those that may be.
_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "default": ((), ()),
    "linear": (("factor",), ()),
    "dynamic": (("factor",), ()),
    "llama3": (
        ("factor", "low_freq_factor", "high_freq_factor"),
        ("original_max_position_embeddings",),
    ),
    "yarn": (
        ("factor",),
        (
            "original_max_position_embeddings",
            "attention_factor",
            "beta_fast",
            "beta_slow",
            "mscale",
            "mscale_all_dim",
            "truncate",
        ),
    ),
}
ROPE_TYPES = tuple(_KEYS)
_ALWAYS_ALLOWED = ("rope_type", "type", "rope_theta", "partial_rotary_factor")


@dataclasses.dataclass(frozen=True)
class RopeConfig:
    """Rotary embedding: its type, base and scaling; fields that the type does not use stay put.

    `dynamic` equals `default` for every position below the model's `max_positions`, and
    `DecoderConfig.check_positions` refuses longer inputs. `attention_factor` multiplies cosine and
    sine (yarn; resolved from `factor` and the mscale pair where the file does not give it).
    """

    type: str = "default"
    theta: float = DEFAULT_THETA
    factor: float = 1.0
    original_max_positions: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float = 1.0
    truncate: bool = True


def read_ropes(
    raw: dict[str, Any], max_positions: int, by_kind: bool
) -> tuple[tuple[RopeConfig, RopeConfig | None], list[str]]:
    """Read the rotary embedding of all layers, or that of full layers and of those that slide.

    Args:
      raw: the whole config.json object.
      max_positions: as of `read_rope`.
      by_kind: whether the two differ, as Gemma's do. transformers 5 writes them as two objects in
        `rope_parameters`; 4 wrote `rope_theta` and `rope_scaling` for the full layers, and
        `rope_local_base_freq` for the others.

    Returns:
      As `read_rope`, for both kinds of layers.
    """
    if not by_kind:
        rope, faults = read_rope(raw, max_positions)
        return (rope, None), faults
    nested = raw.get("rope_parameters") or {}
    kinds = ("full_attention", "sliding_attention")
    if not isinstance(nested, dict) or any(
        name not in kinds or not isinstance(each, dict | None) for name, each in nested.items()
    ):
        faults = [f"rope_parameters must hold an object each for {' and '.join(kinds)}"]
        return (RopeConfig(), None), faults
    of_full = raw | {"rope_parameters": nested.get(kinds[0])}
    of_local = {
        "rope_theta": raw.get("rope_local_base_freq"),
        "rope_parameters": nested.get(kinds[1]),
    }
    full, full_faults = read_rope(of_full, max_positions, default_theta=1e6)
    local, local_faults = read_rope(of_local, max_positions)
    return (full, local), full_faults + [f"sliding layers: {fault}" for fault in local_faults]


def read_rope(
    raw: dict[str, Any], max_positions: int, default_theta: float = DEFAULT_THETA
) -> tuple[RopeConfig, list[str]]:
    """Read `rope_parameters`, or `rope_theta` with `rope_scaling`, from a config.json's contents.

    Args:
      raw: the whole config.json object.
      max_positions: its max_position_embeddings, the default original length of llama3 and yarn.
      default_theta: the base where the file names none.

    Returns:
      The rotary settings and the list of faults; the settings count only if there are none.
    """
    faults: list[str] = []
    given = {}
    for name in ("rope_parameters", "rope_scaling"):
        if raw.get(name) is None:
            continue
        if not isinstance(raw[name], dict):
            return RopeConfig(), [f"{name} must be an object, is {raw[name]!r}"]
        given[name] = {key: value for key, value in raw[name].items() if value is not None}
    if len(given) == 2 and given["rope_parameters"] != given["rope_scaling"]:
        faults.append("rope_parameters and rope_scaling are both there and differ: keep one")
    where, values = next(iter(given.items()), ("rope_parameters", {}))

    kind = values.get("rope_type", values.get("type", "default"))
    if values.get("type", kind) != kind:
        faults.append(f"{where} has rope_type={kind!r} and type={values['type']!r}: keep one")
    if kind not in _KEYS:
        faults.append(f"{where}.rope_type={kind!r} is not implemented, must be one of {ROPE_TYPES}")
        return RopeConfig(), faults

    required, optional = _KEYS[kind]
    faults += [f"{where}.{key} is missing for {kind}" for key in required if key not in values]
    faults += [
        f"{where}.{key} is not implemented for {kind}"
        for key in values
        if key not in (*required, *optional, *_ALWAYS_ALLOWED)
    ]
    if values.get("partial_rotary_factor", 1.0) != 1.0:
        faults.append(f"{where}.partial_rotary_factor is not implemented, must be 1.0")
    theta = raw.get("rope_theta")
    if theta is not None and values.get("rope_theta", theta) != theta:
        faults.append(f"rope_theta={theta} differs from {where}.rope_theta: keep one")
    theta = values.get("rope_theta", default_theta if theta is None else theta)
    numbers = {"rope_theta": theta} | {
        key: values[key] for key in (*required, *optional) if key in values and key != "truncate"
    }
    faults += [
        f"{key} is {value!r}, must be a positive number"
        for key, value in numbers.items()
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0
    ]
    if not isinstance(values.get("truncate", True), bool):
        faults.append(f"{where}.truncate must be true or false")
    if not faults and kind == "llama3" and values["low_freq_factor"] >= values["high_freq_factor"]:
        faults.append(f"{where}.low_freq_factor must be below high_freq_factor")
    if faults:
        return RopeConfig(), faults

    original = values.get("original_max_position_embeddings", max_positions)
    return RopeConfig(
        type=kind,
        theta=float(theta),
        factor=float(values.get("factor", 1.0)),
        original_max_positions=original if kind in ("llama3", "yarn") else 0,
        low_freq_factor=float(values.get("low_freq_factor", 1.0)),
        high_freq_factor=float(values.get("high_freq_factor", 4.0)),
        beta_fast=float(values.get("beta_fast", 32.0)),
        beta_slow=float(values.get("beta_slow", 1.0)),
        attention_factor=_attention_factor(values) if kind == "yarn" else 1.0,
        truncate=values.get("truncate", True),
    ), []


def _attention_factor(values: dict[str, Any]) -> float:
    """Return the yarn temperature (Peng et al. 2023, eq. 22), with mscale where both are given."""
    if "attention_factor" in values:
        return float(values["attention_factor"])

    def temperature(mscale: float) -> float:
        return 1.0 if values["factor"] <= 1 else 0.1 * mscale * math.log(values["factor"]) + 1.0

    if "mscale" in values and "mscale_all_dim" in values:
        return temperature(values["mscale"]) / temperature(values["mscale_all_dim"])
    return temperature(1.0)


def rope_to_hf(rope: RopeConfig) -> dict[str, Any]:
    """Return the `rope_parameters` object that transformers 5 and `read_rope` read back."""
    named = dataclasses.asdict(rope) | {
        "original_max_position_embeddings": rope.original_max_positions
    }
    required, optional = _KEYS[rope.type]
    scaling = {key: named[key] for key in (*required, *optional) if key in named}
    return {"rope_type": rope.type, "rope_theta": rope.theta} | scaling
