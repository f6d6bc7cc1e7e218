"""Published country scores, with their source and year: one column for each dimension."""

import dataclasses
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from jaxalign.errors import UserError
from jaxalign.files import read_table
from jaxalign.survey.parsing import parse_number

_COLUMNS = ("set", "code", "country", "source", "year")
# Sets that have a file of their own; all others are rows of targets.csv.
PACKAGED_FILES = {
    "example_values": "example_values_targets.csv",
    "example_opinions": "example_opinions_targets.csv",
}


@dataclass(frozen=True)
class Target:
    """What a country scored, by whom and when.

    Attributes:
      code: the country's short code, such as `SA`; country: its name.
      scores: dimension key to score, in the order of the survey's dimensions.
      source: where the figures were published; year: when.
    """

    code: str
    country: str
    scores: dict[str, float]
    source: str
    year: str


def targets_path(name: str) -> Path:
    """Return the file behind `survey.targets`: a packaged one, or a user's own CSV by its path."""
    if name.endswith(".csv"):
        return Path(os.path.expanduser(name))  # unlike Path's, leaves an unknown ~user alone
    file = PACKAGED_FILES.get(name, "targets.csv")
    return Path(str(resources.files("jaxalign.survey") / "data" / file))


def read_rows(name: str) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of the file behind `survey.targets`, as `read_table` does.

    Raises:
      UserError: it cannot be read.
    """
    path = targets_path(name)
    try:
        return read_table(path, str(path))
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"survey.targets={name!r}: cannot read {path} ({reason})") from error


def load_targets(name: str, dimensions: tuple[str, ...]) -> dict[str, Target]:
    """Read one set of targets: country code to target.

    Args:
      name: a packaged set (`hofstede2010`, `newer`, `example_values`), or the path of a CSV with
        the columns code, country, source, year and one for each dimension.
      dimensions: keys of the survey's C dimensions.

    Raises:
      UserError: no such set or file, missing columns, or scores that are not numbers.
    """
    path, rows = targets_path(name), [row for _, row in read_rows(name)]
    columns = set(rows[0]) if rows else set()
    in_table = not name.endswith(".csv") and name not in PACKAGED_FILES
    required = [*_COLUMNS[0 if in_table else 1 :], *dimensions]
    missing = [column for column in required if column not in columns]
    if missing:
        raise UserError(f"survey.targets={name!r}: {path} lacks the columns {', '.join(missing)}")
    if in_table:
        sets = list(dict.fromkeys(row["set"] for row in rows))
        if name not in sets:
            known = ", ".join([*sets, *PACKAGED_FILES])
            raise UserError(f"survey.targets={name!r}: give {known} or a .csv file")
        rows = [row for row in rows if row["set"] == name]
    targets = {}
    for row in rows:
        empty = [column for column in required if not row[column].strip()]
        if empty:
            raise UserError(f"{path}: a row has no {', '.join(empty)} (code {row['code']!r})")
        code = row["code"].strip().upper()
        if code in targets:
            raise UserError(f"{path}: the code {code!r} has two rows")
        scores: dict[str, float] = {}
        for key in dimensions:
            if (score := parse_number(row[key])) is None:
                raise UserError(
                    f"{path}: {code!r} has {key} {row[key].strip()!r}, which is no number; write "
                    "one, with a point for its decimals"
                )
            scores[key] = score
        targets[code] = Target(code, row["country"].strip(), scores, row["source"], row["year"])
    return targets


def find_target(targets: dict[str, Target], country: str, name: str) -> Target:
    """Look a country up by code or name, in any case.

    Raises:
      UserError: the set has no such country; the message lists those it has.
    """
    for target in targets.values():
        if country.casefold() in (target.code.casefold(), target.country.casefold()):
            return target
    known = ", ".join(sorted(targets))
    raise UserError(f"country={country!r}: no target in {name}; it has {known}")


def shuffled(target: Target, seed: int) -> Target:
    """Return the target with its scores permuted among the dimensions, none in its place.

    A control: a target that is as far from the middle, and is no country's.
    """
    keys, values = list(target.scores), list(target.scores.values())
    order = np.random.default_rng(seed).permutation(len(keys))
    place = np.empty_like(order)
    place[order] = np.roll(order, 1)  # one cycle through all, so that none stays
    scores = {key: values[index] for key, index in zip(keys, place, strict=True)}
    return dataclasses.replace(target, scores=scores, source=f"{target.source}, shuffled")
