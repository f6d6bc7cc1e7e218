"""histories.csv: every run of a comparison, as tidy data.

One line is one point of one run; what holds for the whole run is repeated on each of its lines.

    method               its label, unique in the comparison
    kind                 ours, evosax, outside or gradient
    country, seed        what was searched, and the seed of the search
    naive_loss           loss without a prompt
    initial_loss         smallest loss of the first population; inf if all of it failed
    forward_equivalents  cost of the whole run, in forward passes of one candidate
    point, points        this point's number from 1 on, and how many the run has
    evaluations          candidates evaluated up to this point
    best_loss            smallest loss so far; inf if none is finite

The file is rewritten whole whenever a run is finished, so that a kill never leaves half a run.
"""

import csv
import dataclasses
import itertools
import math
from pathlib import Path

from jaxalign.errors import UserError
from jaxalign.files import write_csv

KINDS = ("ours", "evosax", "outside", "gradient")
COLUMNS = (
    "method", "kind", "country", "seed", "naive_loss", "initial_loss", "forward_equivalents",
    "point", "points", "evaluations", "best_loss",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Run:
    """A run of one method on one country from one seed.

    Attributes:
      method, kind, country, seed, naive_loss, initial_loss, forward_equivalents: as in
        histories.csv.
      points: (evaluations so far, best loss so far), evaluations rising and losses never.

    Raises:
      ValueError: a value is out of its range.
    """

    method: str
    kind: str
    country: str
    seed: int
    naive_loss: float
    initial_loss: float
    forward_equivalents: float
    points: tuple[tuple[int, float], ...]

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is none of {', '.join(KINDS)}")
        for name in (self.method, self.country):
            if not name.strip() or not name.isprintable():
                raise ValueError(f"name {name!r} is not one line of text")
        if not (0 < self.naive_loss < math.inf):
            raise ValueError(f"naive loss {self.naive_loss} is not positive and finite")
        if not self.points:
            raise ValueError("a run has at least one point")
        numbers = (self.initial_loss, self.forward_equivalents, *(loss for _, loss in self.points))
        if any(math.isnan(number) for number in numbers):
            raise ValueError("NaN is no loss and no cost; a failed candidate's loss is inf")
        for (before, high), (after, low) in zip(self.points, self.points[1:], strict=False):
            if before >= after or high < low:
                raise ValueError(f"evaluations must rise and losses must not at {after}")

    @property
    def name(self) -> tuple[str, str, int]:
        """Method, country and seed, which identify a run."""
        return self.method, self.country, self.seed


def read_runs(path: Path) -> list[Run]:
    """Read the runs of histories.csv, in the order they were written; none if there is no file.

    Raises:
      UserError: the file cannot be read, or is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    rows = list(csv.reader(text.splitlines()))
    if rows and tuple(rows[0]) != COLUMNS:
        raise UserError(f"{path}: line 1 is not {','.join(COLUMNS)}; give another file")
    runs: dict[tuple[str, str, int], Run] = {}
    line = 2
    for _, group in itertools.groupby(rows[1:], key=lambda row: row[:7]):
        lines = list(group)
        try:
            run = _parse(lines)
            if run.name in runs:
                raise ValueError(f"{_describe(run)} is there twice")
        except ValueError as error:
            raise UserError(f"{path}: line {line}: {error}; mend or remove it") from None
        runs[run.name] = run
        line += len(lines)
    return list(runs.values())


def append_run(path: Path, run: Run) -> None:
    """Add a finished run to the file.

    Raises:
      UserError: as in `read_runs`, or the run is there already, or the file cannot be written.
    """
    runs = read_runs(path)
    if any(other.name == run.name for other in runs):
        raise UserError(f"{path}: already holds {_describe(run)}; give each method its own label")
    rows = [
        (each.method, each.kind, each.country, each.seed, float(each.naive_loss),
         float(each.initial_loss), float(each.forward_equivalents), number, len(each.points),
         evaluations, float(loss))
        for each in (*runs, run)
        for number, (evaluations, loss) in enumerate(each.points, start=1)
    ]  # fmt: skip
    write_csv(path, COLUMNS, rows)


def _parse(lines: list[list[str]]) -> Run:
    """Return the run of its lines.

    Raises:
      ValueError: a field is missing or out of range, or the run lacks a point.
    """
    if any(len(fields) != len(COLUMNS) for fields in lines):
        raise ValueError(f"not {len(COLUMNS)} fields")
    method, kind, country, seed, naive, initial, cost, _, count, *_ = lines[0]
    if [(fields[7], fields[8]) for fields in lines] != [
        (str(number), count) for number in range(1, int(count) + 1)
    ]:
        raise ValueError(f"the points of this run are not 1 to {count}")
    points = tuple((int(fields[9]), float(fields[10])) for fields in lines)
    facts = float(naive), float(initial), float(cost)
    return Run(method, kind, country, int(seed), *facts, points)


def _describe(run: Run) -> str:
    return f"{run.method}, {run.country}, seed {run.seed}"
