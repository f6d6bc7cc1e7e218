"""histories.csv: every run of a comparison, tidy, and safe to append to after a kill.

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

A run is appended whole, once it is finished. A kill may cut the last run of a file anywhere: it
then has fewer points than it says, and counts as never written.
"""

import csv
import dataclasses
import math
import os
from pathlib import Path

from jaxalign.errors import UserError
from jaxalign.files import to_csv

KINDS = ("ours", "evosax", "outside", "gradient")
COLUMNS = (
    "method", "kind", "country", "seed", "naive_loss", "initial_loss", "forward_equivalents",
    "point", "points", "evaluations", "best_loss",
)  # fmt: skip
_Facts = tuple[str, str, str, int, float, float, float]  # of a Run, without its points


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
    """Read the finished runs of histories.csv, in the order they were written.

    There are none if there is no file yet. A half-written run at its end is left out.

    Raises:
      UserError: the file cannot be read, or is damaged elsewhere than at its end.
    """
    return _scan(path)[0]


def append_run(path: Path, run: Run) -> None:
    """Append a finished run to the whole ones, replacing what a kill left after them.

    Raises:
      UserError: as in `read_runs`, or the run is there already, or the file cannot be written.
    """
    runs, end = _scan(path)
    if any(other.name == run.name for other in runs):
        raise UserError(f"{path}: already holds {_describe(run)}; give each method its own label")
    facts = (run.method, run.kind, run.country, run.seed, float(run.naive_loss),
             float(run.initial_loss), float(run.forward_equivalents))  # fmt: skip
    rows = [
        (*facts, number, len(run.points), evaluations, float(loss))
        for number, (evaluations, loss) in enumerate(run.points, start=1)
    ]
    lines = to_csv([COLUMNS, *rows] if end == 0 else rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("r+b" if path.exists() else "wb") as file:
            file.truncate(end)
            file.seek(end)
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def _scan(path: Path) -> tuple[list[Run], int]:
    """Return the whole runs, and how many bytes they and the header take."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    header = f"{','.join(COLUMNS)}\n".encode()
    if header.startswith(data):  # also an empty file, and a header that was cut
        return [], len(header) if data == header else 0
    if not data.startswith(header):
        raise UserError(f"{path}: line 1 is not {header.decode().strip()}; give another file")

    runs: dict[tuple[str, str, int], Run] = {}
    facts: _Facts | None = None  # of the run being read
    points: list[tuple[int, float]] = []  # its points so far
    position = end = len(header)
    lines = data[position:].split(b"\n")[:-1]  # a last line without its end was cut
    for number, line in enumerate(lines, start=2):
        position += len(line) + 1
        try:
            of_line, number_of, count, point = _parse(line)
            if points and of_line != facts:
                raise ValueError(f"the run before it ends after {len(points)} of its points")
            if number_of != len(points) + 1:
                raise ValueError(f"point {number_of} where point {len(points) + 1} should be")
            facts = of_line
            points.append(point)
            if number_of == count:
                run = Run(*facts, tuple(points))
                if run.name in runs:
                    raise ValueError(f"{_describe(run)} is there twice")
                runs[run.name], points, end = run, [], position
        except (ValueError, csv.Error) as error:
            raise UserError(f"{path}: line {number}: {error}; mend or remove it") from None
    return list(runs.values()), end


def _parse(line: bytes) -> tuple[_Facts, int, int, tuple[int, float]]:
    """Return the facts of a line's run, its point's number, the count of points, and the point."""
    fields = next(csv.reader([line.decode()]), [])
    if len(fields) != len(COLUMNS):
        raise ValueError(f"{len(fields)} fields, not {len(COLUMNS)}")
    method, kind, country, seed, naive, initial, cost, number, count, evaluations, loss = fields
    facts = (method, kind, country, int(seed), float(naive), float(initial), float(cost))
    return facts, int(number), int(count), (int(evaluations), float(loss))


def _describe(run: Run) -> str:
    return f"{run.method}, {run.country}, seed {run.seed}"
