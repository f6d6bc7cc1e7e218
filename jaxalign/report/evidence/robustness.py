"""Whether a result holds in formats that the search never saw."""

from pathlib import Path
from typing import Any

from jaxalign.report.evidence.rows_plot import Mark, plot_rows
from jaxalign.report.evidence.section import (
    Section,
    cell,
    drawn,
    figure,
    html_table,
    render,
    write_csv,
)
from jaxalign.report.numbers import format_decimals, format_loss, format_score

METHODS = ("naive", "persona", "tuned")
_WIDER = "†"


def write_robustness(evaluation: dict[str, Any], folder: Path) -> Section:
    """Writes robustness.csv and the plot into the folder; returns the section, if there is one."""
    robustness, dimensions = evaluation["robustness"], list(evaluation["target"])
    if not robustness or not robustness["rows"]:
        return Section()
    rows, notice = robustness["rows"], evaluation["notice"]
    columns = ["format", "wording", "system", "seen", "method", "loss", *dimensions]
    lines = [
        [row["name"], row["wording"], row["system"], "yes" if row["seen"] else "no", method,
         result["loss"], *((result["scores"] or {}).get(key) for key in dimensions)]
        for row in rows
        for method, result in row["methods"].items()
        if result
    ]  # fmt: skip
    written = write_csv(folder / "robustness.csv", columns, lines, notice)
    methods = [name for name in METHODS if any(row["methods"].get(name) for row in rows)]
    plot_rows(
        {
            head: [(row["name"], _marks(row, methods)) for row in rows if row["seen"] is seen]
            for head, seen in (("seen by the search", True), ("held out", False))
        },
        "Loss in each format",
        notice,
        folder / "robustness",
        legend=methods,
    )
    html = render(
        "robustness",
        figure=figure(
            folder, "robustness", "Loss in each format; the values are in robustness.csv",
            "Loss in each format. Filled: the search saw the format; hollow: held out.",
        ),
        summary=_summary(robustness["summary"]),
        dimensions=_dimensions(evaluation),
        formats=_formats(rows, methods),
    )  # fmt: skip
    return Section(html, (written, *drawn("robustness")))


def _spreads(evaluation: dict[str, Any]) -> dict[str, int]:
    """For each method the number of dimensions that vary more over formats than over countries."""
    rows = evaluation["robustness"]["dimensions"]
    return {
        method: sum(_is_wider(row, method) for row in rows)
        for method in METHODS
        if any(row[method] for row in rows)
    }


def _marks(row: dict[str, Any], methods: list[str]) -> list[Mark]:
    return [
        Mark(name, row["methods"][name]["loss"], hollow=not row["seen"])
        for name in methods
        if row["methods"].get(name)
    ]


def _summary(summary: dict[str, dict[str, Any]]) -> str:
    rows = [
        [method, format_loss(of_method["seen"]), format_loss(of_method["held_out"]),
         cell(format_loss(of_method["worst"]), of_method["worst_name"])]
        for method, of_method in summary.items()
    ]  # fmt: skip
    heads = ["method", "mean loss, seen", "mean loss, held out", "worst"]
    return html_table(heads, rows, strong="tuned")


def _dimensions(evaluation: dict[str, Any]) -> str:
    rows = evaluation["robustness"]["dimensions"]
    counts = _spreads(evaluation)
    if not counts:
        return ""
    lines = []
    for row in rows:
        line = [row["dimension"], format_decimals(row["between_countries"], 1)]
        for method in counts:
            of_method = row[method] or {"mean": None, "spread": None}
            mark = f"{_WIDER} " if _is_wider(row, method) else ""
            spread = f"{mark}{format_decimals(of_method['spread'], 1)}"
            line.append(cell(spread, f"mean {format_score(of_method['mean'])}"))
        lines.append(line)
    heads = ["dimension", "between countries", *(f"{method}, over formats" for method in counts)]
    return render(
        "spreads",
        table=html_table(heads, lines),
        mark=_WIDER,
        counts="; ".join(f"{method} {count} of {len(rows)}" for method, count in counts.items()),
    )


def _is_wider(row: dict[str, Any], method: str) -> bool:
    spread = (row[method] or {}).get("spread")
    between = row["between_countries"]
    return spread is not None and between is not None and spread > between


def _formats(rows: list[dict[str, Any]], methods: list[str]) -> str:
    lines = [
        [cell(row["name"], row["system"]), row["wording"] or "", "yes" if row["seen"] else "no",
         *(format_loss((row["methods"].get(name) or {}).get("loss")) for name in methods)]
        for row in rows
    ]  # fmt: skip
    table = html_table(["format", "wording", "seen", *methods], lines, kind="texts")
    return f"<details>\n<summary>The loss in every format</summary>\n{table}\n</details>"
