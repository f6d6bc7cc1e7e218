"""Reading and writing of evaluation.json."""

from pathlib import Path
from typing import Any

import msgspec

from jaxalign.errors import UserError
from jaxalign.files import read_json, write_json
from jaxalign.report.evidence.record import VERSION, Evaluation

FILE = "evaluation.json"


def write_evaluation(workdir: Path, evaluation: Evaluation) -> None:
    """Write evaluation.json whole or not at all.

    Raises:
        UserError: the folder cannot be written.
    """
    write_json(workdir / FILE, msgspec.to_builtins(evaluation))


def read_evaluation(workdir: Path) -> Evaluation:
    """Read and check evaluation.json; control characters in its texts become spaces.

    Raises:
        UserError: the file is missing, is not JSON, or is not what an evaluation writes.
    """
    path = workdir / FILE
    if not path.exists():
        raise UserError(f"{path}: not found; run jaxalign.evaluate on this workdir first")
    value = read_json(path)
    if value.get("schema") != VERSION:
        raise UserError(f"{path}: schema is not {VERSION}; run jaxalign.evaluate on it again")
    try:
        return msgspec.convert(_printable(value), Evaluation)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: {error}; run jaxalign.evaluate on it again") from None


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return "".join(letter if letter.isprintable() else " " for letter in value)
    if isinstance(value, list):
        return [_printable(each) for each in value]
    if isinstance(value, dict):
        return {_printable(key): _printable(each) for key, each in value.items()}
    return value
