"""Several evaluated runs on one page: countries by naive, in-context and tuned, as in the paper."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxalign.errors import UserError
from jaxalign.files import write_csv, write_file
from jaxalign.report.evidence.evaluation_file import FILE, read_evaluation
from jaxalign.report.evidence.record import LEVELS, Evaluation
from jaxalign.report.pages import render

METHODS = ["naive", "in-context", "tuned"]
_COLUMNS = (
    "run", "country", "model", "survey", "measure", "scope", "method", "variant", "value", "low",
    "high", "n", "notice",
)  # fmt: skip


class Result(NamedTuple):
    """One number of one run.

    Attributes:
      measure: `loss`, or `easy` or `hard` for the share of right answers on CulturalBench.
      scope: what it is about: the country, or `overall`.
      method: one of METHODS.
      variant: the name of the method in full.
      value: None if there is none.
      low, high: ends of its 95% interval.
      n: number of questions.
    """

    measure: str
    scope: str
    method: str
    variant: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclasses.dataclass(frozen=True)
class ComparedRun:
    """An evaluated run, its name, and those of its numbers that are compared."""

    name: str
    evaluation: Evaluation
    results: list[Result]

    @property
    def country(self) -> str:
        """The country by name, or by code if it has no name."""
        return self.evaluation.country_title

    def pick(self, measure: str, scope: str, method: str) -> Result | None:
        """Return one result, None if the run has none."""
        wanted = (measure, scope, method)
        found = (each for each in self.results if (each.measure, each.scope, each.method) == wanted)
        return next(found, None)


def write_comparison_report(workdirs: Sequence[Path], output: Path) -> None:
    """Write index.html and comparison.csv over several evaluated runs.

    Args:
        workdirs: each of an evaluated run; a multi-country run counts for each of its countries.
        output: folder.

    Raises:
        UserError: a folder has not been evaluated, a file is damaged, or nothing can be written.
    """
    runs = []
    for workdir in workdirs:
        for name, folder in _evaluated(Path(workdir)):
            evaluation = read_evaluation(folder)
            runs.append(ComparedRun(name, evaluation, results_of(evaluation)))
    if not runs:
        raise UserError("--compare: give the workdirs of evaluated runs")
    rows = []
    for run in runs:
        e = run.evaluation
        facts = run.name, e.country, e.model, e.survey.name
        rows += [[*facts, *result, e.notice] for result in run.results]
    write_csv(output / "comparison.csv", _COLUMNS, rows)
    benches = [run.evaluation.culturalbench for run in runs]
    measures = {each.measure for run in runs for each in run.results}
    page = render(
        "comparison.html",
        runs=runs,
        methods=METHODS,
        levels=[level for level in LEVELS if level in measures],
        fixture=any(bench and bench.fixture for bench in benches),
        notices=list(dict.fromkeys(run.evaluation.notice for run in runs if run.evaluation.notice)),
    )
    write_file(output / "index.html", page.encode())


def results_of(evaluation: Evaluation) -> list[Result]:
    """Return the numbers of an evaluation that are compared; of the in-context methods the best."""
    methods = {each.name: each for each in evaluation.methods}
    in_context = [
        (each.loss, name) for name, each in methods.items()
        if name.startswith("in-context") and each.loss is not None
    ]  # fmt: skip
    _, best = min(in_context, default=(None, ""))
    chosen = {"naive": "naive", "in-context": best, "tuned": "tuned"}
    results = [
        Result("loss", evaluation.country, method, name, methods[name].loss,
               *(methods[name].interval or ()))
        for method, name in chosen.items()
        if name in methods
    ]  # fmt: skip
    bench = evaluation.culturalbench
    for level, rows in (bench.levels() if bench else {}).items():
        for row in rows:
            method = "in-context" if row.method.startswith("in-context") else row.method
            if method in METHODS and row.scope in ("overall", evaluation.country_title):
                measured = row.accuracy, row.low, row.high, row.n
                results.append(Result(level, row.scope, method, row.method, *measured))
    return results


def _evaluated(workdir: Path) -> list[tuple[str, Path]]:
    """Return the evaluated folders of a workdir by name: itself, or those of its countries."""
    name = workdir.resolve().name
    countries = sorted((workdir / "countries").glob(f"*/{FILE}"))
    if (workdir / FILE).exists() or not countries:
        return [(name, workdir)]
    return [(f"{name}/{path.parent.name}", path.parent) for path in countries]
