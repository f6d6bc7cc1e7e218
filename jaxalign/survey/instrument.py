"""A survey as data: items, scales and the linear formulas of its dimensions, read from YAML."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from jaxalign.errors import UserError

PACKAGED = {"vsm13": "vsm13.yaml", "vsm13-second": "vsm13_second.yaml"}
INSTRUCTED = ("numbers", "letters", "words")  # labels that a format may use
_KEYS = {
    "name", "title", "language", "validated", "instruction", "instructions",
    "scales", "stems", "items", "dimensions", "coefficients",
}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
      id: name of the item, such as `m01`.
      stem: the words that come before the options, shared by a group of items.
      text: the words of the item itself.
      scale: name of the answer scale.
      labels: A strings, what the respondent writes for each option (`"1"` … `"5"`).
      options: A strings, what each label stands for.
      values: A numbers, what each option counts in a mean.
      dimensions: keys of the dimensions that use the item in any coefficient set.
    """

    id: str
    stem: str
    text: str
    scale: str
    labels: tuple[str, ...]
    options: tuple[str, ...]
    values: tuple[float, ...]
    dimensions: tuple[str, ...]


@dataclass(frozen=True)
class Instrument:
    """A whole survey.

    Attributes:
      name: short name; title: for people.
      validated: whether the wording has been validated; ours has not.
      instruction: how to answer; instructions: the same for other labels, by their name.
      items: Q items, in the order of all `_Q` arrays.
      dimensions: key to name of the C dimensions, in the order of all `_C` arrays.
      coefficients: set name to {dimension: {item id: coefficient}}; the first set is the default.
    """

    name: str
    title: str
    language: str
    validated: bool
    instruction: str
    instructions: dict[str, str]
    items: tuple[Item, ...]
    dimensions: dict[str, str]
    coefficients: dict[str, dict[str, dict[str, float]]]


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping: YAML would silently keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        keys = [key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} appears twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def load_instrument(name: str) -> Instrument:
    """Reads a packaged survey by name (`vsm13`) or a survey file by its path.

    Raises:
      UserError: the file cannot be read, or breaks the form; all faults are in one message.
    """
    if name in PACKAGED:
        path = Path(str(resources.files("jaxalign.survey") / "data" / PACKAGED[name]))
    else:
        path = Path(name)
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        known = ", ".join(PACKAGED)
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"survey.instrument={name!r}: cannot read it ({reason}); give {known} or a YAML file"
        ) from error
    try:
        raw = yaml.load(text, _Loader)  # a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    return parse_instrument(raw, str(path))


def instrument_digest(instrument: Instrument) -> str:
    """SHA-256 of everything that a survey says."""
    content = json.dumps(asdict(instrument), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def parse_instrument(raw: Any, source: str) -> Instrument:
    """Checks and builds an instrument from parsed YAML; `source` names it in messages.

    Raises:
      UserError: one line with every fault found.
    """
    faults: list[str] = []
    if not isinstance(raw, dict):
        raise UserError(f"{source}: expected a mapping with the keys {', '.join(sorted(_KEYS))}")
    for key in sorted(_KEYS - {"language", "validated", "instructions"} - set(raw)):
        faults.append(f"key {key!r} is missing")
    for key in sorted(set(map(str, raw)) - _KEYS):
        faults.append(f"unknown key {key!r} (known: {', '.join(sorted(_KEYS))})")
    for key in ("name", "title", "instruction", "language"):
        if key in raw and not _is_text(raw[key]):
            faults.append(f"{key} must be a text, not {raw[key]!r}")
    if not isinstance(raw.get("validated", False), bool):
        faults.append(f"validated must be true or false, not {raw['validated']!r}")

    instructions = _mapping(raw, "instructions", faults)
    for key, instruction in instructions.items():
        if key not in INSTRUCTED or not _is_text(instruction):
            faults.append(f"instructions.{key} must be a text for one of {', '.join(INSTRUCTED)}")
    stems = _mapping(raw, "stems", faults)
    for key, stem_text in stems.items():
        if not _is_text(stem_text):
            faults.append(f"stems.{key} must be a text, not {stem_text!r}")
    scales = {
        key: _parse_scale(f"scales.{key}", scale, faults)
        for key, scale in _mapping(raw, "scales", faults).items()
    }
    dimensions = {str(key): name for key, name in _mapping(raw, "dimensions", faults).items()}
    for key, name in dimensions.items():
        if not _is_text(name):
            faults.append(f"dimensions.{key} must be a text, not {name!r}")
    ids = _parse_ids(raw.get("items"), faults)
    coefficients = _parse_coefficients(raw, set(ids), set(dimensions), faults)
    used_by = {
        id_: tuple(
            key
            for key in dimensions
            if any(id_ in formulas.get(key, {}) for formulas in coefficients.values())
        )
        for id_ in ids
    }
    items = []
    entry: dict[str, Any]
    for id_, entry in ids.items():
        for key in sorted({"stem", "scale", "text"} ^ (set(entry) - {"id"}), key=str):
            faults.append(f"item {id_}: {'unknown' if key in entry else 'missing'} key {key!r}")
        stem: Any = entry.get("stem")
        scale: Any = entry.get("scale")
        text: Any = entry.get("text")
        if "stem" in entry and stem not in list(stems):
            faults.append(f"item {id_}: stem {stem!r} is not one of {', '.join(map(str, stems))}")
        if "scale" in entry and scale not in list(scales):
            faults.append(
                f"item {id_}: scale {scale!r} is not one of {', '.join(map(str, scales))}"
            )
        if "text" in entry and not _is_text(text):
            faults.append(f"item {id_}: text must be a text, not {text!r}")
        if not used_by[id_]:
            faults.append(f"item {id_}: no dimension uses it")
        if not faults:
            items.append(
                Item(
                    id=id_,
                    stem=stems[stem].strip(),
                    text=text.strip(),
                    scale=scale,
                    dimensions=used_by[id_],
                    **scales[scale],
                )
            )
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
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the largest float
        return False


def _is_label(value: Any) -> bool:
    # YAML reads an unquoted yes or no as true or false: the respondent would be offered "True".
    return _is_text(value) or (isinstance(value, int) and not isinstance(value, bool))


def _mapping(raw: dict, key: str, faults: list[str]) -> dict:
    value = raw.get(key, {})
    if isinstance(value, dict) and (value or key not in raw):
        return value
    faults.append(f"{key} must be a mapping with at least one entry")
    return {}


def _parse_scale(where: str, scale: Any, faults: list[str]) -> dict[str, tuple]:
    """A list of options, or a mapping with `options` and optionally `labels` and `values`."""
    entry = {"options": scale} if isinstance(scale, list) else scale
    if not isinstance(entry, dict) or not isinstance(entry.get("options"), list):
        faults.append(f"{where} must be a list of options, or a mapping with 'options'")
        return {"options": (), "labels": (), "values": ()}
    count = len(entry["options"])
    numbers = list(range(1, count + 1))
    labels, values = entry.get("labels", numbers), entry.get("values", numbers)
    for key in sorted(set(entry) - {"options", "labels", "values"}, key=str):
        faults.append(f"{where}: unknown key {key!r}")
    if count < 2:
        faults.append(f"{where} needs at least two options")
    if not all(map(_is_text, entry["options"])):
        faults.append(f"{where}: every option must be a text")
    for key, column in (("labels", labels), ("values", values)):
        if not isinstance(column, list) or len(column) != count:
            faults.append(f"{where}: {key} must be a list of {count}, one for each option")
            return {"options": (), "labels": (), "values": ()}
    if not all(map(_is_label, labels)):
        faults.append(
            f"{where}: labels must be whole numbers or texts (in quotes: yes, no, on, off)"
        )
    labels = tuple(str(label).strip() for label in labels)
    if len(set(labels)) != count:
        faults.append(f"{where}: labels must differ from one another")
    if not all(map(_is_number, values)):
        faults.append(f"{where}: values must be finite numbers")
        values = numbers
    return {
        "options": tuple(str(option).strip() for option in entry["options"]),
        "labels": labels,
        "values": tuple(map(float, values)),
    }


def _parse_ids(raw: Any, faults: list[str]) -> dict[str, dict]:
    if not isinstance(raw, list) or not raw:
        faults.append("items must be a list with at least one item")
        return {}
    ids: dict[str, dict] = {}
    for number, entry in enumerate(raw, 1):
        if not isinstance(entry, dict) or not _is_text(entry.get("id")):
            faults.append(f"item number {number} must be a mapping with an 'id'")
        elif entry["id"] in ids:
            faults.append(f"item {entry['id']} appears twice")
        else:
            ids[entry["id"]] = entry
    return ids


def _parse_coefficients(raw: dict, ids: set[str], dimensions: set[str], faults: list[str]) -> dict:
    sets: dict[str, dict[str, dict[str, float]]] = {}
    for name, formulas in _mapping(raw, "coefficients", faults).items():
        sets[str(name)] = {}
        if not isinstance(formulas, dict):
            faults.append(f"coefficients.{name} must be a mapping of dimensions")
            continue
        formulas = {str(key): formula for key, formula in formulas.items()}
        for key in sorted(dimensions ^ set(formulas)):
            fault = "has no formula" if key in dimensions else "is not under dimensions"
            faults.append(f"coefficients.{name}: {key} {fault}")
        for key, formula in formulas.items():
            if (
                not isinstance(formula, dict)
                or not formula
                or not all(map(_is_number, formula.values()))
            ):
                faults.append(f"coefficients.{name}.{key} must map item ids to finite numbers")
                continue
            for id_ in sorted(set(formula) - ids, key=str):
                faults.append(f"coefficients.{name}.{key}: there is no item {id_!r}")
            sets[str(name)][key] = {id_: float(c) for id_, c in formula.items()}
    return sets
