"""The methods side by side: losses with intervals, scores, and by how much the tuned one leads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxalign.report.evidence.rows_plot import Mark, plot_rows
from jaxalign.report.evidence.section import (
    Section,
    cell,
    drawn,
    ends,
    figure,
    html_table,
    render,
    write_csv,
)
from jaxalign.report.numbers import (
    MISSING,
    format_difference,
    format_interval,
    format_loss,
    format_score,
)

GROUPS = {  # as evaluation.json has them: what stands over their rows, and their marks
    "tuned": ("found by the search", "tuned"),
    "reference": ("references", "naive"),
    "text": ("texts before the question", "persona"),
    "control": ("controls", "control"),
}


def write_methods(evaluation: dict[str, Any], folder: Path) -> Section:
    """Writes methods.csv and the plot of the losses into the folder; returns the section."""
    methods, dimensions = evaluation["methods"], list(evaluation["target"])
    columns = ["method", "group", "loss", "low", "high", "spread_low", "spread_high"]
    columns += ["difference", "difference_low", "difference_high", *dimensions, "note"]
    lines = [_line(method, dimensions) for method in methods]
    for persona in evaluation["personas"] or ():
        group = "persona, held out" if persona["held_out"] else "persona"
        blank = [None] * (len(columns) - 3)
        lines.append([persona["text"], group, persona["loss"], *blank])
    notice = evaluation["notice"]
    written = write_csv(folder / "methods.csv", columns, lines, notice)
    groups = {
        head: [
            (method["name"], [Mark(mark, method["loss"], method["interval"], method["spread"])])
            for method in of_group
        ]
        for head, mark, of_group in grouped(methods)
    }
    plot_rows(groups, "Loss of each method", notice, folder / "methods")
    html = render(
        "methods",
        figure=figure(folder, "methods", "Loss of each method; the values are in the table below"),
        losses=_losses(methods),
        scores=_scores(evaluation),
        personas=_personas(evaluation["personas"] or []),
    )
    return Section(html, (written, *drawn("methods")))


def grouped(methods: list[dict[str, Any]]) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """The methods by group: its head, its mark, and its methods in their order."""
    for group in dict.fromkeys(method["group"] for method in methods):
        head, mark = GROUPS.get(group, (group, "control"))
        yield head, mark, [method for method in methods if method["group"] == group]


def _line(method: dict[str, Any], dimensions: list[str]) -> list[Any]:
    difference = method["difference"] or {"mean": None, "interval": None}
    scores = method["scores"] or {}
    return [
        method["name"], method["group"], method["loss"], *ends(method["interval"]),
        *ends(method["spread"]), difference["mean"], *ends(difference["interval"]),
        *(scores.get(key) for key in dimensions), method["note"],
    ]  # fmt: skip


def _losses(methods: list[dict[str, Any]]) -> str:
    rows: list[list[str]] = []
    for head, _, of_group in grouped(methods):
        rows += [[head], *map(_row, of_group)]
    columns = ["method", "loss", "95% interval", "range", "tuned minus it"]
    return html_table(columns, rows, kind="sticky", strong="tuned")


def _scores(evaluation: dict[str, Any]) -> str:
    target = evaluation["target"]
    rows = [["published", *map(format_score, target.values())]]
    for method in evaluation["methods"]:
        scores = method["scores"] or {}
        rows.append([method["name"], *(format_score(scores.get(key)) for key in target)])
    return html_table(["method", *target], rows, kind="sticky", strong="tuned")


def _row(method: dict[str, Any]) -> list[str]:
    difference = MISSING
    if method["difference"]:
        interval = format_interval(method["difference"]["interval"], format_difference)
        difference = cell(format_difference(method["difference"]["mean"]), interval)
    return [
        cell(method["name"], method["note"]),
        format_loss(method["loss"]),
        format_interval(method["interval"]),
        format_interval(method["spread"]),
        difference,
    ]


def _personas(personas: list[dict[str, Any]]) -> str:
    if not personas:
        return ""
    rows = [
        [each["text"], format_loss(each["loss"]), "yes" if each["held_out"] else "no"]
        for each in sorted(personas, key=lambda each: (each["loss"] is None, each["loss"]))
    ]
    table = html_table(["persona", "loss", "held out"], rows, kind="texts")
    return f"<details>\n<summary>Every wording of the persona</summary>\n{table}\n</details>"
