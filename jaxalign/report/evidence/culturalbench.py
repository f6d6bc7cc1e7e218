"""CulturalBench: what the prompt does to knowledge that it was not tuned for."""

from html import escape
from pathlib import Path
from typing import Any

from jaxalign.report.evidence.section import Section, html_table, render, write_csv
from jaxalign.report.numbers import format_decimals, format_interval, format_p, format_percent

LEVELS = ("easy", "hard")
_COLUMNS = (
    "level", "scope", "method", "n", "skipped", "accuracy", "low", "high", "chance", "b", "c", "p",
    "p_holm", "source", "revision",
)  # fmt: skip
_NO_TEST = {"b": None, "c": None, "p": None, "p_holm": None}
_HEADS = [
    "method", "accuracy", "95% interval", "chance", "questions", "skipped", "b", "c", "p",
    "p, Holm",
]  # fmt: skip


def write_culturalbench(evaluation: dict[str, Any], folder: Path) -> Section:
    """Writes culturalbench.csv into the folder; returns the section, if there is one."""
    bench = evaluation["culturalbench"]
    levels = [level for level in LEVELS if bench and bench[level] and bench[level]["rows"]]
    if not levels:
        return Section()
    lines = []
    for level in levels:
        for row in bench[level]["rows"]:
            test = row["mcnemar"] or _NO_TEST
            line = [row[key] for key in _COLUMNS[1:9]]
            line += [test[key] for key in _COLUMNS[9:13]]
            lines.append([level, *line, bench["source"], bench["revision"]])
    written = write_csv(folder / "culturalbench.csv", _COLUMNS, lines, evaluation["notice"])
    revision = f" at revision {bench['revision']}" if bench["revision"] else ""
    html = render(
        "culturalbench",
        source=escape(f"{bench['source']}{revision}"),
        fixture=render("fixture") if bench["fixture"] else "",
        levels="\n".join(
            f"<h3>{level.capitalize()}</h3>\n{_table(bench[level]['rows'])}" for level in levels
        ),
    )
    return Section(html, (written,))


def _table(rows: list[dict[str, Any]]) -> str:
    lines: list[list[str]] = []
    for scope in dict.fromkeys(row["scope"] for row in rows):
        lines.append([scope])
        lines += [_row(row) for row in rows if row["scope"] == scope]
    return html_table(_HEADS, lines, strong="tuned")


def _row(row: dict[str, Any]) -> list[str]:
    test = row["mcnemar"] or _NO_TEST
    return [
        row["method"],
        format_percent(row["accuracy"]),
        format_interval((row["low"], row["high"]), format_percent),
        format_percent(row["chance"], 2),
        f"{row['n']:,}",
        f"{row['skipped']:,}",
        *(format_decimals(test[key], 0) for key in ("b", "c")),
        *(format_p(test[key]) for key in ("p", "p_holm")),
    ]
