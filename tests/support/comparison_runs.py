"""Runs of a comparison, made up."""

import math
from pathlib import Path

from jaxalign.report.comparison import Run, append_run, summarise

BUDGET = 100


def make_run(
    *losses: float, method: str = "DE", country: str = "SA", seed: int = 0, **other
) -> Run:
    """A run of naive loss 80, with a point at 20, 40, … evaluations."""
    points = tuple((20 * number, loss) for number, loss in enumerate(losses, start=1))
    facts = {"kind": "ours", "naive_loss": 80.0, "forward_equivalents": 100.0} | other
    return Run(method, facts.pop("kind"), country, seed, initial_loss=losses[0], points=points,
               **facts)  # fmt: skip


def summary_of(*runs: Run):
    """The line over all countries of the only method."""
    (line,) = (line for line in summarise(runs, BUDGET) if line.country is None)
    return line


def three_methods() -> list[Run]:
    """Three methods, one of them twice as costly, one without a run on CN."""
    return [
        make_run(60.0, 8.0, method="DE|x", seed=0),
        make_run(60.0, 16.0, method="DE|x", seed=1),
        make_run(60.0, 24.0, method="DE|x", country="CN"),
        make_run(40.0, 8.0, method="Adam", country="SA", kind="gradient", forward_equivalents=1e4),
        make_run(40.0, 4.0, method="Adam", country="CN", kind="gradient", forward_equivalents=1e4),
        make_run(math.inf, method="broken", country="SA", kind="outside"),
    ]


RUNS = [
    make_run(60.0, 1 / 3, seed=0),
    make_run(math.inf, 5e-324, 0.0, seed=1, kind="gradient", forward_equivalents=300.5),
    make_run(60.0, method='a "quoted", long | name é', country="CN", kind="outside"),
]


def write(path: Path, runs: list[Run] = RUNS) -> bytes:
    """Writes histories.csv; gives its content."""
    for run in runs:
        append_run(path, run)
    return path.read_bytes()
