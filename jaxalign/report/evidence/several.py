"""Several evaluated runs on one page: countries by naive, in-context and tuned, as in the paper."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from jaxalign.errors import UserError
from jaxalign.files import write_file
from jaxalign.report.evidence.culturalbench import LEVELS
from jaxalign.report.evidence.schema import FILE, read_evaluation
from jaxalign.report.evidence.section import cell, html_table, render, write_rows
from jaxalign.report.numbers import MISSING, format_interval, format_loss, format_percent
from jaxalign.report.parts import country_name, frame

METHODS = ("naive", "in-context", "tuned")
OVERALL = "overall"
_COLUMNS = (
    "run", "country", "model", "survey", "measure", "scope", "method", "variant", "value", "low",
    "high", "n", "notice",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One number of one run.

    Attributes:
      measure: `loss`, or `easy` or `hard` for the share of right answers on CulturalBench.
      scope: what it is about: the country, or `overall`.
      method: one of METHODS. variant: the name of the method in full.
      value: None where there is none. interval: 95%.
      n: number of questions.
    """

    measure: str
    scope: str
    method: str
    variant: str
    value: float | None
    interval: tuple[float | None, float | None] | None
    n: int | None = None


Found = tuple[str, dict[str, Any], list[Result]]  # name and evaluation of a run, its numbers


def write_comparison_report(workdirs: Sequence[Path], output: Path) -> None:
    """Writes index.html and comparison.csv over several evaluated runs.

    Args:
        workdirs: each of a run, evaluated; one for several countries counts for each of them.
        output: folder.

    Raises:
        UserError: a folder has not been evaluated, a file is damaged, or nothing can be written.
    """
    runs = [
        (name, read_evaluation(folder))
        for workdir in workdirs
        for name, folder in _evaluated(Path(workdir))
    ]
    if not runs:
        raise UserError("--compare: give the workdirs of evaluated runs")
    found = [(name, evaluation, results_of(evaluation)) for name, evaluation in runs]
    lines = [
        [name, evaluation["country"], evaluation["model"], evaluation["survey"]["name"],
         result.measure, result.scope, result.method, result.variant, result.value,
         *(result.interval or (None, None)), result.n, evaluation["notice"]]
        for name, evaluation, results in found
        for result in results
    ]  # fmt: skip
    write_rows(output / "comparison.csv", _COLUMNS, lines)
    notices = dict.fromkeys(each["notice"] for _, each in runs if each["notice"])
    fixture = any((each["culturalbench"] or {}).get("fixture") for _, each in runs)
    levels = [render("fixture") if fixture else ""]
    levels += [_level(level, found) for level in LEVELS]
    body = render(
        "several",
        losses=_losses(found),
        levels="\n".join(filter(None, levels)),
        verdicts="\n".join(_verdict(name, evaluation) for name, evaluation in runs),
    )
    page = frame(f"{len(runs)} evaluated runs", body, notices)
    write_file(output / "index.html", page.encode())


def results_of(evaluation: dict[str, Any]) -> list[Result]:
    """The numbers of an evaluation that are compared; of the in-context methods the best."""
    methods = {each["name"]: each for each in evaluation["methods"]}
    in_context = [
        each for each in evaluation["methods"]
        if each["name"].startswith("in-context") and each["loss"] is not None
    ]  # fmt: skip
    chosen = {
        "naive": methods.get("naive"),
        "in-context": min(in_context, key=lambda each: each["loss"], default=None),
        "tuned": methods.get("tuned"),
    }
    results = [
        Result("loss", evaluation["country"], name, each["name"], each["loss"], each["interval"])
        for name, each in chosen.items()
        if each
    ]
    bench = evaluation["culturalbench"] or {}
    for level in LEVELS:
        for row in (bench.get(level) or {"rows": []})["rows"]:
            method = "in-context" if row["method"].startswith("in-context") else row["method"]
            if method in METHODS and row["scope"] in (OVERALL, country_name(evaluation)):
                interval = row["low"], row["high"]
                results.append(
                    Result(level, row["scope"], method, row["method"], row["accuracy"], interval,
                           row["n"])
                )  # fmt: skip
    return results


def _evaluated(workdir: Path) -> list[tuple[str, Path]]:
    """The evaluated folders of a workdir by name: itself, or those of its countries."""
    name = workdir.resolve().name
    countries = sorted((workdir / "countries").glob(f"*/{FILE}"))
    if (workdir / FILE).exists() or not countries:
        return [(name, workdir)]
    return [(f"{name}/{path.parent.name}", path.parent) for path in countries]


def _losses(found: Sequence[Found]) -> str:
    rows = []
    for name, evaluation, results in found:
        row: list[str] = [cell(country_name(evaluation), f"{name}, {evaluation['model']}")]
        for method in METHODS:
            result = _pick(results, "loss", evaluation["country"], method)
            variant = result.variant.removeprefix(method).lstrip(", ") if result else ""
            row.append(_cell(result, format_loss, variant))
        survey = evaluation["survey"]
        row.append(cell(survey["norm"].upper(), survey["name"]))
        rows.append(row)
    return html_table(["country", *METHODS, "loss"], rows, kind="sticky")


def _level(level: str, found: Sequence[Found]) -> str:
    """The table of one part of CulturalBench; nothing where no run was put to it."""
    if not any(result.measure == level for *_, results in found for result in results):
        return ""
    rows: list[list[str]] = []
    for name, evaluation, results in found:
        country = country_name(evaluation)
        for scope, label in ((country, "own country"), (OVERALL, OVERALL)):
            shown = [_pick(results, level, scope, method) for method in METHODS]
            questions = next((f"{each.n:,}" for each in shown if each), MISSING)
            cells = [_cell(each, format_percent) for each in shown]
            rows.append([cell(country, name), cell(label), questions, *cells])
    heads = ["country", "questions about", "questions", *METHODS]
    table = html_table(heads, rows, kind="sticky")
    return render("level", level=level.capitalize(), table=table)


def _pick(results: Sequence[Result], measure: str, scope: str, method: str) -> Result | None:
    keys = {(each.measure, each.scope, each.method): each for each in results}
    return keys.get((measure, scope, method))


def _cell(result: Result | None, write: Callable[[float | None], str], about: str = "") -> str:
    if result is None:
        return MISSING
    interval = format_interval(result.interval, write)
    return cell(write(result.value), ", ".join(filter(None, (interval, about))))


def _verdict(name: str, evaluation: dict[str, Any]) -> str:
    sentences = " ".join(evaluation["verdict"])
    country = escape(country_name(evaluation))
    return f"<li><strong>{country}</strong> ({escape(name)}): {escape(sentences)}</li>"
