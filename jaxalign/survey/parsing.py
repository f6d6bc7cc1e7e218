"""Parts of a survey file, checked: faults are added to a list, so that all are reported at once."""

import contextlib
import datetime
import math
from typing import Any

_LARGEST = 1e30
ANSWERS, LEFT_OUT, MISSING = "answers", "left_out", "missing"  # what fixed options count as
_FIXED_AS = (ANSWERS, LEFT_OUT, MISSING)
_SCALE_KEYS = {"options", "labels", "values", "nominal", "fixed", "fixed_as"}


def is_text(value: Any) -> bool:
    """Return whether it is a non-empty string."""
    return isinstance(value, str) and bool(value.strip())


def no_text(value: Any) -> str:
    """Say what stands where a text must, and what YAML has made of a word without quotes."""
    if isinstance(value, bool):
        words = "yes, on and true" if value else "no, off and false"
        return f"not {value}, as YAML reads {words}: put the word in quotes"
    if isinstance(value, (int, float, datetime.date)):
        return f"not {str(value)!s}: put it in quotes"
    return f"not {value!r}"


def is_number(value: Any) -> bool:
    """Return whether it is a finite number, not a bool, that float32 can add up."""
    is_bool = isinstance(value, bool)
    return isinstance(value, int | float) and not is_bool and abs(value) <= _LARGEST


def parse_number(text: str) -> float | None:
    """Return the finite number that a cell holds; None if it is another text."""
    with contextlib.suppress(ValueError):
        number = float(text)
        if math.isfinite(number) and "_" not in text:  # Python's own form of 1_000
            return number
    return None


def are_numbers(value: Any, count: int) -> bool:
    """Return whether it is a list of so many finite numbers."""
    return isinstance(value, list) and len(value) == count and all(map(is_number, value))


def parse_mapping(raw: dict, key: str, faults: list[str]) -> dict:
    """Return the mapping under a key; an empty one where the key is missing."""
    value = raw.get(key, {})
    if isinstance(value, dict) and (value or key not in raw):
        return value
    faults.append(f"{key} must be a mapping with at least one entry")
    return {}


def parse_scale(where: str, scale: Any, faults: list[str]) -> dict[str, Any]:
    """Return what a scale gives an `Item`: options, labels, values, and how they are treated."""
    entry = {"options": scale} if isinstance(scale, list) else scale
    none = {"options": (), "labels": (), "values": (), "nominal": False}
    if not isinstance(entry, dict) or not isinstance(entry.get("options"), list):
        faults.append(f"{where} must be a list of options, or a mapping with 'options'")
        return none
    count = len(entry["options"])
    numbers = list(range(1, count + 1))
    fixed, fixed_as = _parse_fixed(where, entry, faults)
    answers = count if fixed_as == ANSWERS else count - fixed
    labels, values = entry.get("labels", numbers), entry.get("values", numbers[:answers])
    nominal = entry.get("nominal", False)
    for key in sorted(set(entry) - _SCALE_KEYS, key=str):
        faults.append(f"{where}: unknown key {key!r}")
    if count < 2:
        faults.append(f"{where} needs at least two options")
    for option in entry["options"]:
        if not is_text(option):
            faults.append(f"{where}: every option must be a text, {no_text(option)}")
    if not isinstance(nominal, bool):
        faults.append(f"{where}: nominal must be true or false, not {nominal!r}")
    elif nominal and "values" in entry:
        faults.append(f"{where}: nominal options have no order, so leave out values")
    for key, column, length in (("labels", labels, count), ("values", values, answers)):
        if not isinstance(column, list) or len(column) != length:
            which = "option" if length == count else "option that is an answer"
            faults.append(f"{where}: {key} must be a list of {length}, one for each {which}")
            return none
    if not all(map(_is_label, labels)):
        faults.append(
            f"{where}: labels must be whole numbers or texts (in quotes: yes, no, on, off)"
        )
    labels = tuple(str(label).strip() for label in labels)
    if len(set(labels)) != count:
        faults.append(f"{where}: labels must differ from one another")
    if not all(map(is_number, values)):
        faults.append(f"{where}: values must be finite numbers")
        values = numbers[:answers]
    options = tuple(str(option).strip() for option in entry["options"])
    return {
        "options": options[:answers],
        "labels": labels[:answers],
        "values": tuple(map(float, values)),
        "nominal": nominal is True,
        "fixed": fixed if fixed_as == ANSWERS else 0,
        "nonresponse": tuple(zip(labels, options, strict=True))[answers:],
        "offers_nonresponse": fixed_as == MISSING,
    }


def _parse_fixed(where: str, entry: dict, faults: list[str]) -> tuple[int, str]:
    """Return how many options at the end are fixed, and as what."""
    fixed, fixed_as = entry.get("fixed", []), entry.get("fixed_as", ANSWERS)
    options = entry["options"]
    if fixed_as not in _FIXED_AS:
        faults.append(f"{where}: fixed_as {fixed_as!r} is not one of {', '.join(_FIXED_AS)}")
        fixed_as = ANSWERS
    if "fixed" not in entry:
        if "fixed_as" in entry:
            faults.append(f"{where}: fixed_as needs fixed, a list of the last options")
    elif not isinstance(fixed, list) or not fixed or fixed != options[-len(fixed) :]:
        faults.append(
            f"{where}: fixed must list the last options as they stand under options, such as "
            f"[{options[-1] if options else ''}], not {fixed!r}"
        )
    elif len(options) - len(fixed) < 2:
        faults.append(f"{where}: fixed must leave at least two options before those that it lists")
    else:
        return len(fixed), fixed_as
    return 0, ANSWERS


def parse_ids(raw: Any, faults: list[str]) -> dict[str, dict]:
    """Return the entries of the list of items, by id."""
    if not isinstance(raw, list) or not raw:
        faults.append("items must be a list with at least one item")
        return {}
    ids: dict[str, dict] = {}
    for number, entry in enumerate(raw, 1):
        if not isinstance(entry, dict) or "id" not in entry:
            faults.append(f"item number {number} must be a mapping with an 'id'")
        elif not is_text(entry["id"]):
            faults.append(f"item number {number}: id must be a text, {no_text(entry['id'])}")
        elif entry["id"] in ids:
            faults.append(f"item {entry['id']} appears twice")
        else:
            ids[entry["id"]] = entry
    return ids


def parse_coefficients(
    raw: dict, ids: set[str], dimensions: set[str], faults: list[str]
) -> dict[str, dict[str, dict[str, float]]]:
    """Set name to {dimension: {item id: coefficient}}; a list of ids stands for their mean."""
    sets: dict[str, dict[str, dict[str, float]]] = {}
    for name, formulas in parse_mapping(raw, "coefficients", faults).items():
        sets[str(name)] = {}
        if not isinstance(formulas, dict):
            faults.append(f"coefficients.{name} must be a mapping of dimensions")
            continue
        formulas = {str(key): formula for key, formula in formulas.items()}
        for key in sorted(dimensions ^ set(formulas)):
            fault = "has no formula" if key in dimensions else "is not under dimensions"
            faults.append(f"coefficients.{name}: {key} {fault}")
        for key, formula in formulas.items():
            where = f"coefficients.{name}.{key}"
            if isinstance(formula, list) and formula and all(map(is_text, formula)):
                if len(set(formula)) < len(formula):
                    faults.append(f"{where}: an item appears twice in the mean")
                formula = dict.fromkeys(formula, 1 / len(formula))
            if (
                not isinstance(formula, dict)
                or not formula
                or not all(map(is_number, formula.values()))
            ):
                faults.append(
                    f"{where} must map item ids to finite numbers, or list the items of a mean"
                )
                continue
            for id_ in sorted(set(formula) - ids, key=str):
                faults.append(f"{where}: there is no item {id_!r}")
            sets[str(name)][key] = {id_: float(c) for id_, c in formula.items()}
    return sets


def _is_label(value: Any) -> bool:
    # YAML reads an unquoted yes or no as true or false: the respondent would be offered "True".
    return is_text(value) or (isinstance(value, int) and not isinstance(value, bool))
