"""evaluation.json: read whole and checked, so that no report breaks off half-way."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxalign.errors import UserError
from jaxalign.files import read_json

FILE = "evaluation.json"
VERSION = 1


@dataclass(frozen=True)
class Maybe:
    """May be null or missing."""

    shape: Any


@dataclass(frozen=True)
class Each:
    """An object with any keys, whose values all have one shape."""

    shape: Any


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


# A shape is one of these words, a dict of shapes, [shape] for a list of such, Maybe or Each.
_KINDS = {
    "text": lambda value: isinstance(value, str),
    "a number": _number,
    "a whole number": lambda value: _number(value) and value == int(value),
    "true or false": lambda value: isinstance(value, bool),
    "two numbers": lambda value: (
        isinstance(value, list) and len(value) == 2 and all(map(_number, value))
    ),
}
_NUMBER = Maybe("a number")
_PAIR = Maybe("two numbers")
_SCORES = Each(_NUMBER)
_LOSS = Maybe({"loss": _NUMBER, "scores": Maybe(_SCORES)})
_SPREAD = Maybe({"mean": _NUMBER, "spread": _NUMBER})
_ANSWER = {
    "shares": [_NUMBER], "mean": _NUMBER, "entropy": _NUMBER, "off_scale": _NUMBER,
    "written": Maybe("text"), "kind": Maybe("text"), "agrees": Maybe("true or false"),
}  # fmt: skip
_SUMMARY = {
    "seen": _NUMBER, "held_out": _NUMBER, "worst": _NUMBER, "worst_name": Maybe("text"),
}  # fmt: skip
_LEVEL = {
    "rows": [{
        "scope": "text", "method": "text", "n": "a whole number", "skipped": "a whole number",
        "accuracy": _NUMBER, "low": _NUMBER, "high": _NUMBER, "chance": _NUMBER,
        "mcnemar": Maybe({"b": _NUMBER, "c": _NUMBER, "p": _NUMBER, "p_holm": _NUMBER}),
    }],
}  # fmt: skip
_EVALUATION = {
    "country": "text", "country_name": Maybe("text"), "model": "text", "notice": Maybe("text"),
    "command": Maybe("text"), "date": Maybe("text"), "hardware": Maybe("text"),
    "versions": Maybe(Each("text")), "git_revision": Maybe("text"),
    "survey": {
        "name": "text", "title": "text", "validated": "true or false", "items": "a whole number",
        "constant": Maybe(["a number"]), "norm": "text", "targets": Maybe("text"),
        "target_source": Maybe("text"),
    },
    "dimensions": Each("text"),
    "target": Each("a number"),
    "formats": {"seen": ["text"], "held_out": ["text"]},
    "verdict": ["text"],
    "methods": [{
        "name": "text", "group": "text", "scores": Maybe(_SCORES), "loss": _NUMBER,
        "interval": _PAIR, "spread": _PAIR, "note": Maybe("text"),
        "difference": Maybe({"mean": _NUMBER, "interval": _PAIR}),
    }],
    "personas": Maybe([{"text": "text", "loss": _NUMBER, "held_out": "true or false"}]),
    "robustness": Maybe({
        "rows": [{
            "name": "text", "wording": Maybe("text"), "system": Maybe("text"),
            "seen": "true or false", "methods": Each(_LOSS),
        }],
        "dimensions": [{
            "dimension": "text", "between_countries": _NUMBER,
            "naive": _SPREAD, "tuned": _SPREAD, "persona": _SPREAD,
        }],
        "summary": Each(_SUMMARY),
    }),
    "answers": Maybe({
        "items": [{
            "id": "text", "text": "text", "options": ["text"], "values": ["a number"],
            "naive": Maybe(_ANSWER), "tuned": Maybe(_ANSWER),
        }],
        "methods": Each({
            "entropy": _NUMBER, "collapsed": _NUMBER, "off_scale": _NUMBER, "agree": _NUMBER,
            "disagree": _NUMBER, "refusal": _NUMBER, "unparsed": _NUMBER,
        }),
    }),
    "respondents": Maybe([{
        "method": "text", "n": "a whole number", "loss": _NUMBER, "low": _NUMBER, "high": _NUMBER,
        "dimensions": Each({"mean": _NUMBER, "sampling_sd": _NUMBER, "formula_sd": _NUMBER}),
    }]),
    "countries": Maybe({
        "reference": Maybe("text"), "codes": ["text"], "names": Each("text"),
        "differences": Maybe([{
            "country": "text", "dimension": "text", "target": _NUMBER, "tuned": _NUMBER,
        }]),
        "tau": Maybe([{
            "dimension": "text", "tau": _NUMBER, "p": _NUMBER, "n": "a whole number",
        }]),
        "matrix": Maybe([[_NUMBER]]), "naive": Maybe([_NUMBER]),
    }),
    "culturalbench": Maybe({
        "source": "text", "revision": Maybe("text"), "fixture": "true or false",
        "easy": Maybe(_LEVEL), "hard": Maybe(_LEVEL),
    }),
    "trie": Maybe({"formats": _NUMBER, "tokens": _NUMBER, "padded": _NUMBER, "saving": _NUMBER}),
    "seconds": Maybe(Each(_NUMBER)),
}  # fmt: skip


def read_evaluation(workdir: Path) -> dict[str, Any]:
    """Reads evaluation.json.

    What may be missing is then there as None, and line breaks and other controls in texts are
    spaces.

    Raises:
        UserError: the file is missing, is not JSON, or is not what an evaluation writes.
    """
    path = workdir / FILE
    if not path.exists():
        raise UserError(f"{path}: not found; run jaxalign.evaluate on this workdir first")
    evaluation = read_json(path)
    if evaluation.get("schema") != VERSION:
        raise UserError(f"{path}: schema is not {VERSION}; run jaxalign.evaluate on it again")
    try:
        evaluation = _read(evaluation, _EVALUATION, "")
        _check_sizes(evaluation)
    except ValueError as error:
        raise UserError(f"{path}: {error}; run jaxalign.evaluate on it again") from None
    return evaluation


def _read(value: Any, shape: Any, where: str) -> Any:
    """A value of this shape, keys that the shape does not have left out.

    Raises:
        ValueError: it is not of this shape; says where.
    """
    if isinstance(shape, Maybe):
        return None if value is None else _read(value, shape.shape, where)
    if isinstance(shape, str):
        if not _KINDS[shape](value):
            raise ValueError(f"{where} is missing" if value is None else f"{where} is not {shape}")
        return _printable(value) if isinstance(value, str) else value
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise ValueError(f"{where} is not a list")
        return [_read(each, shape[0], f"{where}[{index}]") for index, each in enumerate(value)]
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not an object")
    shapes = dict.fromkeys(value, shape.shape) if isinstance(shape, Each) else shape
    return {
        _printable(key): _read(value.get(key), each, f"{where}.{key}" if where else key)
        for key, each in shapes.items()
    }


def _check_sizes(evaluation: dict[str, Any]) -> None:
    """Checks what must go together.

    Raises:
        ValueError: it does not; says what.
    """
    if not evaluation["target"]:
        raise ValueError("target has no dimension")
    for index, item in enumerate((evaluation["answers"] or {}).get("items", ())):
        lengths = {len(item["options"]), len(item["values"])}
        lengths |= {len(item[key]["shares"]) for key in ("naive", "tuned") if item[key]}
        if len(lengths) > 1:
            raise ValueError(f"answers.items[{index}] has not a share and a value for each option")
    if countries := evaluation["countries"]:
        count = len(countries["codes"])
        if countries["matrix"] and [len(row) for row in countries["matrix"]] != [count] * count:
            raise ValueError(f"countries.matrix is not {count} rows of {count} losses")
        if countries["naive"] and len(countries["naive"]) != count:
            raise ValueError(f"countries.naive is not {count} losses")


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
