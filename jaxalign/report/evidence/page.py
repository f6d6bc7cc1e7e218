"""The report of an evaluation: one page over all evidence, its tables and its plots."""

import dataclasses
from pathlib import Path
from typing import Any

from jaxalign.files import RunFiles, read_pareto, read_run
from jaxalign.report.drawing import Sheet
from jaxalign.report.evidence.csv_tables import METHODS, write_tables
from jaxalign.report.evidence.evaluation_file import read_evaluation
from jaxalign.report.evidence.heat_maps import plot_answers, plot_matrix
from jaxalign.report.evidence.record import Evaluation, FormatRow, Method
from jaxalign.report.evidence.respondents_plot import plot_respondents
from jaxalign.report.evidence.rows_plot import Mark, plot_rows
from jaxalign.report.page import write_search
from jaxalign.report.pages import write_run_page
from jaxalign.report.pareto_plot import in_order
from jaxalign.report.radar_plot import plot_radar

GROUPS = {  # group in evaluation.json: head of its rows, and style of its marks
    "tuned": ("found by the search", "tuned"),
    "reference": ("references", "naive"),
    "text": ("texts before the question", "persona"),
    "control": ("controls", "control"),
}
PARTS = {  # set in evaluation.json: how it is called
    "tune": "tuned on",
    "choose": "chosen by",
    "test": "test, of unseen levels only",
    "alone": "one unseen level, else as usual",
}
_RADAR = {"naive": "naive", "persona (median)": "persona", "tuned": "tuned"}
_FORMAT_METHODS = ("naive", "persona", "tuned")


def write_evaluation_report(workdir: Path) -> None:
    """Write report/ from evaluation.json and the files of the run, replacing the run's page.

    A folder without summary.json, in which a bare soft prompt was evaluated, has no search to show.
    Every file is written under a temporary name and then renamed, the page last.

    Raises:
        UserError: a file of the workdir is missing or damaged, or the folder cannot be written.
    """
    e = read_evaluation(workdir)
    run = read_run(workdir) if (workdir / "summary.json").exists() else _without_run(e)
    notice = e.notice or run.summary.get("notice")
    run = dataclasses.replace(run, summary=run.summary | {"notice": notice})
    pareto, folder = read_pareto(workdir), workdir / "report"
    has = {
        "robustness": e.robustness and e.robustness.rows,
        "answers": e.answers and e.answers.items,
        "side_effects": e.side_effects,
        "respondents": e.respondents,
        "countries": e.countries and e.countries.codes,
        "culturalbench": e.culturalbench and e.culturalbench.levels(),
    }
    parts = [part for part, found in has.items() if found]
    groups: dict[str, list[Method]] = {}
    for method in e.methods:
        head, _ = GROUPS.get(method.group, (method.group, "control"))
        groups.setdefault(head, []).append(method)
    write_tables(e, folder, ["methods", *parts])
    tables = [f"{part}.csv" for part in ("methods", *parts)]
    plots = _draw(e, groups, parts, folder)
    write_run_page(
        folder / "index.html",
        "evaluation.html",
        run,
        e=e,
        evaluated=True,
        parts=parts,
        groups=groups,
        wider=_wider(e),
        format_methods=_format_methods(e),
        sets=PARTS,
        answer_methods=_answer_methods(e),
        differences=_differences(e),
        pareto=pareto,
        objectives=in_order(pareto.names) if pareto else [],
        files=[*tables, *plots, *write_search(run, pareto, folder)],
    )


def _draw(
    e: Evaluation, groups: dict[str, list[Method]], parts: list[str], folder: Path
) -> list[str]:
    """Draw the plots of all parts; return the names of their files."""

    def sheet(stem: str, title: str) -> Sheet:
        stems.append(stem)
        return Sheet(folder / stem, title, e.notice)

    stems: list[str] = []
    marks = dict(GROUPS.values())
    rows = {
        head: [
            (each.name, [Mark(marks.get(head, "control"), each.loss, each.interval, each.spread)])
            for each in of_group
        ]
        for head, of_group in groups.items()
    }
    plot_rows(rows, sheet("methods", "Loss of each method"))
    scores = {each.name: each.scores for each in e.methods if each.scores}
    shown: dict[str, Any] = {"target": e.target}
    shown |= {label: scores[name] for name, label in _RADAR.items() if name in scores}
    plot_radar(shown, sheet("radar", f"Scores: {e.country_title}"))
    if "robustness" in parts and e.robustness:
        methods = _format_methods(e)
        rows = {
            head: [
                (row.name, _marks(row, methods)) for row in e.robustness.rows if row.part == part
            ]
            for part, head in PARTS.items()
        }
        plot_rows(rows, sheet("robustness", "Loss in each presentation"), legend=methods)
    if "answers" in parts and e.answers:
        title = "Answers to each item, in percent"
        plot_answers(e.answers.items, _answer_methods(e), sheet("answers", title))
    if e.respondents:
        title = "Samples of simulated respondents"
        plot_respondents(e.respondents, sheet("respondents", title))
    if "countries" in parts and e.countries and e.countries.matrix:
        plot_matrix(e.countries, sheet("countries", "Loss by country"))
    return [f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg")]


def _marks(row: FormatRow, methods: list[str]) -> list[Mark]:
    found = {name: row.methods.get(name) for name in methods}
    return [
        Mark(name, each.loss, hollow=row.part != "tune") for name, each in found.items() if each
    ]


def _format_methods(e: Evaluation) -> list[str]:
    rows = e.robustness.rows if e.robustness else []
    return [name for name in _FORMAT_METHODS if any(row.methods.get(name) for row in rows)]


def _answer_methods(e: Evaluation) -> list[str]:
    items = e.answers.items if e.answers else []
    return [method for method in METHODS if any(getattr(item, method) for item in items)]


def _wider(e: Evaluation) -> dict[str, list[str]]:
    """Return for each method the dimensions that vary more over formats than over countries."""
    wider: dict[str, list[str]] = {}
    for row in e.robustness.dimensions if e.robustness else ():
        for method in _FORMAT_METHODS:
            if (found := getattr(row, method)) is None:
                continue
            of_method = wider.setdefault(method, [])
            between = row.between_countries
            if found.spread is not None and between is not None and found.spread > between:
                of_method.append(row.dimension)
    return {method: wider[method] for method in _FORMAT_METHODS if method in wider}


def _differences(e: Evaluation) -> dict[str, dict[str, Any]]:
    """Return the differences between countries by country and dimension."""
    found: dict[str, dict[str, Any]] = {}
    for each in (e.countries.differences if e.countries else None) or ():
        found.setdefault(each.country, {})[each.dimension] = each
    return found


def _without_run(e: Evaluation) -> RunFiles:
    """Return what a run would have left, as far as an evaluation has it."""
    methods = {each.name: each for each in e.methods}
    losses = {name: each.loss for name, each in methods.items()}
    scores = {name: each.scores or {} for name, each in methods.items()}
    names = {"constant": "constant answer", "naive": "naive", "best": "tuned"}
    summary = {
        "country": e.country,
        "country_name": e.country_name,
        "model": e.model,
        "loss": {key: losses.get(name) for key, name in names.items()},
        "scores": scores.get("tuned", {}),
        "naive_scores": scores.get("naive", {}),
        "target": e.target,
        "norm": e.survey.norm,
    }
    survey = {"targets": e.survey.targets, "constant": e.survey.constant}
    config = {
        "country": e.country,
        "model": {"path": e.model},
        "survey": {key: value for key, value in survey.items() if value},
        "objective": {"norm": e.survey.norm, "formats": e.formats.seen},
    }
    return RunFiles({"config": config, "versions": e.versions or {}}, (), summary)
