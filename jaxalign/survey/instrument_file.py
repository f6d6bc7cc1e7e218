"""A survey from parsed YAML, checked."""

from typing import Any

from jaxalign.errors import UserError
from jaxalign.survey.instrument import (
    DISTRIBUTION,
    IPSATISED,
    LINEAR,
    Instrument,
    Item,
    share_key,
)
from jaxalign.survey.parsing import (
    are_numbers,
    is_number,
    is_text,
    no_text,
    parse_coefficients,
    parse_ids,
    parse_mapping,
    parse_scale,
)

_INSTRUCTED = ("numbers", "letters", "words")  # labels that a format may use
_SCORINGS = (LINEAR, IPSATISED, DISTRIBUTION)
_REQUIRED = {"name", "title", "instruction", "scales", "stems", "items"}
_OF_FORMULAS = {"dimensions", "coefficients"}  # required, but a distribution has none
_OPTIONAL = {"language", "validated", "notice", "scoring", "instructions"}
_OPTIONAL_OF_FORMULAS = {"constant", "score_range"}
_KEYS = _REQUIRED | _OF_FORMULAS | _OPTIONAL | _OPTIONAL_OF_FORMULAS


def parse_instrument(raw: Any, source: str) -> Instrument:
    """Check and build an instrument from parsed YAML; `source` names it in messages.

    Raises:
      UserError: one line with every fault found.
    """
    faults: list[str] = []
    if not isinstance(raw, dict):
        raise UserError(f"{source}: expected a mapping with the keys {', '.join(sorted(_KEYS))}")
    scoring = raw.get("scoring", LINEAR)
    if scoring not in _SCORINGS:
        faults.append(f"scoring {scoring!r} is not one of {', '.join(_SCORINGS)}")
    shares = scoring == DISTRIBUTION
    for key in sorted(_REQUIRED.union(() if shares else _OF_FORMULAS) - set(raw)):
        faults.append(f"key {key!r} is missing")
    for key in sorted(set(map(str, raw)) - _KEYS):
        faults.append(f"unknown key {key!r} (known: {', '.join(sorted(_KEYS))})")
    for key in sorted((_OF_FORMULAS | _OPTIONAL_OF_FORMULAS) & set(raw)) if shares else ():
        faults.append(f"{key}: scoring distribution compares the answers themselves; leave it out")
    for key in ("name", "title", "instruction", "language", "notice"):
        if key in raw and not is_text(raw[key]):
            faults.append(f"{key} must be a text, {no_text(raw[key])}")
    if not isinstance(raw.get("validated", False), bool):
        faults.append(f"validated must be true or false, not {raw['validated']!r}")

    instructions = parse_mapping(raw, "instructions", faults)
    for key, instruction in instructions.items():
        if key not in _INSTRUCTED or not is_text(instruction):
            faults.append(f"instructions.{key} must be a text for one of {', '.join(_INSTRUCTED)}")
    stems = parse_mapping(raw, "stems", faults)
    for key, stem_text in stems.items():
        if not is_text(stem_text):
            faults.append(f"stems.{key} must be a text, {no_text(stem_text)}")
    scales = {
        key: parse_scale(f"scales.{key}", scale, faults)
        for key, scale in parse_mapping(raw, "scales", faults).items()
    }
    ids = parse_ids(raw.get("items"), faults)
    dimensions: dict[str, str] = {}
    coefficients: dict[str, dict[str, dict[str, float]]] = {}
    if not shares:
        names = parse_mapping(raw, "dimensions", faults)
        dimensions = {str(key): name for key, name in names.items()}
        for key, name in dimensions.items():
            if not is_text(name):
                faults.append(f"dimensions.{key} must be a text, {no_text(name)}")
        coefficients = parse_coefficients(raw, set(ids), set(dimensions), faults)
    constant = _parse_constant(raw, len(dimensions), faults)
    score_range = _parse_range(raw, faults)
    used_by = {
        id_: tuple(
            key
            for key in dimensions
            if any(id_ in formulas.get(key, {}) for formulas in coefficients.values())
        )
        for id_ in ids
    }
    items = []
    for id_, entry in ids.items():
        scale = _check_item(id_, entry, stems, scales, scoring, faults)
        if scoring == LINEAR and not used_by[id_]:
            faults.append(f"item {id_}: no dimension uses it")
        if not faults:
            assert scale is not None
            if shares:
                used_by[id_] = tuple(share_key(id_, label) for label in scale["labels"])
                dimensions |= dict(zip(used_by[id_], scale["options"], strict=True))
            if entry.get("reverse"):
                ends = min(scale["values"]) + max(scale["values"])
                scale = scale | {"values": tuple(ends - value for value in scale["values"])}
            items.append(
                Item(
                    id=id_,
                    stem=stems[entry["stem"]].strip(),
                    text=entry["text"].strip(),
                    scale=entry["scale"],
                    dimensions=used_by[id_],
                    **scale,
                )
            )
    ends_of = {(min(item.values), max(item.values)) for item in items}
    if not faults and scoring == IPSATISED and len(ends_of) > 1:
        told = ", ".join(f"{low:g} to {high:g}" for low, high in sorted(ends_of))
        faults.append(f"scoring ipsatised takes one mean over all items, whose scales go {told}")
    if faults:
        raise UserError(" ".join(f"{source}: {'; '.join(faults)}".split()))
    return Instrument(
        name=raw["name"],
        title=raw["title"],
        language=raw.get("language", "en"),
        validated=raw.get("validated", False),
        instruction=raw["instruction"].strip(),
        instructions={name: text.strip() for name, text in instructions.items()},
        items=tuple(items),
        dimensions=dimensions,
        coefficients=coefficients,
        scoring=scoring,
        constant=constant,
        score_range=score_range,
        notice=raw.get("notice"),
    )


def _check_item(
    id_: str, entry: dict, stems: dict, scales: dict, scoring: Any, faults: list[str]
) -> dict[str, Any] | None:
    """Add the faults of an item, and return its scale."""
    where, shares = f"item {id_}", scoring == DISTRIBUTION
    for key in sorted({"stem", "scale", "text"} ^ (set(entry) - {"id", "reverse"}), key=str):
        faults.append(f"{where}: {'unknown' if key in entry else 'missing'} key {key!r}")
    stem, name = entry.get("stem"), entry.get("scale")
    if "stem" in entry and stem not in list(stems):
        faults.append(f"{where}: stem {stem!r} is not one of {', '.join(map(str, stems))}")
    if "scale" in entry and name not in list(scales):
        faults.append(f"{where}: scale {name!r} is not one of {', '.join(map(str, scales))}")
    if "text" in entry and not is_text(entry["text"]):
        faults.append(f"{where}: text must be a text, {no_text(entry['text'])}")
    reverse = entry.get("reverse", False)
    if not isinstance(reverse, bool):
        faults.append(f"{where}: reverse must be true or false, not {reverse!r}")
    elif reverse and shares:
        faults.append(f"{where}: reverse turns values round, and scoring distribution has none")
    if shares and "=" in id_:
        faults.append(f"{where}: with scoring distribution an id may not hold '='")
    scale = scales[name] if name in list(scales) else None
    if scale and scale["nominal"] and not shares:
        faults.append(f"{where}: scale {name!r} is nominal, so its answers have no mean")
    if scale and shares and not scale["nominal"] and len(set(scale["values"])) == 1:
        faults.append(f"{where}: the values of scale {name!r} are all alike, so no answer differs")
    return scale


def _parse_constant(raw: dict, count: int, faults: list[str]) -> tuple[float, ...]:
    """C, one number or one for each dimension."""
    constant = raw.get("constant", 0)
    if is_number(constant):
        return (float(constant),)
    if are_numbers(constant, count):
        return tuple(map(float, constant))
    faults.append(f"constant must be a finite number or a list of {count}, not {constant!r}")
    return (0.0,)


def _parse_range(raw: dict, faults: list[str]) -> tuple[float, float] | None:
    """Return the two ends of the scale of scores, where the file has them."""
    if "score_range" not in raw:
        return None
    ends = raw["score_range"]
    if are_numbers(ends, 2) and ends[0] < ends[1]:
        return float(ends[0]), float(ends[1])
    faults.append(f"score_range must be a list of two numbers, the lower first, not {ends!r}")
    return None
