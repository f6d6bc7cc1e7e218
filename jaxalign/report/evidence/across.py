"""Countries beside each other: differences and ranks, which need no constant, and who fits whom."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from jaxalign.report import drawing
from jaxalign.report.drawing import GROUND, INK, MUTED, short
from jaxalign.report.evidence.heat_map import draw_cells, write_beside
from jaxalign.report.evidence.section import Section, drawn, figure, html_table, render, write_csv
from jaxalign.report.numbers import (
    MISSING,
    format_decimals,
    format_difference,
    format_loss,
    format_p,
)

_COLUMNS = ("kind", "row", "column", "value", "published", "p", "n")
_ROW, _CELL, _TOP, _BOTTOM = 0.42, 0.85, 1.0, 0.4  # inches


def write_countries(evaluation: dict[str, Any], folder: Path) -> Section:
    """Writes countries.csv and the matrix into the folder; returns the section, if there is one."""
    countries, notice = evaluation["countries"], evaluation["notice"]
    if not countries or not countries["codes"]:
        return Section()
    files = [write_csv(folder / "countries.csv", _COLUMNS, _lines(countries), notice)]
    matrix = ""
    if countries["matrix"]:
        plot_matrix(countries, "Loss by country", notice, folder / "countries")
        files += drawn("countries")
        label = "Loss of each country's prompt for each country; the values are in countries.csv"
        shown = figure(folder, "countries", label)
        matrix = render("matrix", figure=shown)
    differences = _differences(countries, list(evaluation["target"]))
    tau = _tau(countries["tau"] or [])
    html = render("countries", matrix=matrix, differences=differences, tau=tau)
    return Section(html, tuple(files))


def plot_matrix(countries: dict[str, Any], title: str, notice: str | None, stem: Path) -> None:
    """Draws the matrix of losses, with the naive model's as a row of its own below.

    Args:
        countries: as in evaluation.json, with a matrix.
        title: stands above the plot.
        notice: stands below it, None for nothing.
        stem: of the files, stem.png and stem.svg.
    """
    codes = countries["codes"]
    names = [short(countries["names"].get(code, code)) for code in codes]
    rows = [drawing.as_array(row) for row in countries["matrix"]]
    if countries["naive"]:
        names.append("no prompt (naive)")
        rows.append(drawing.as_array(countries["naive"]))
    losses_GG = np.stack(rows)
    left = 0.4 + 0.083 * max(map(len, names))
    width = max(left + _CELL * len(codes) + 0.25, 5.6)
    height = _TOP + _ROW * len(rows) + _BOTTOM
    finite = losses_GG[np.isfinite(losses_GG)]
    with matplotlib.rc_context(drawing.RC):
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes(
            (left / width, _BOTTOM / height, _CELL * len(codes) / width, _ROW * len(rows) / height)
        )
        texts = [[format_loss(loss) for loss in row] for row in losses_GG]
        high = float(finite.max()) if finite.size else 1.0
        own = {(place, place) for place in range(len(codes))}
        draw_cells(axes, losses_GG, texts, 0.0, high, dark_is_high=True, framed=own, size=9)
        axes.axhline(len(codes) - 0.5, color=GROUND, linewidth=4)
        write_beside(axes, -0.62, names, align="right")
        for place, code in enumerate(codes):
            axes.text(place, -0.62, short(code), ha="center", va="bottom", color=INK, weight="bold")
        axes.text(-0.5, -1.2, "scored against", ha="left", va="bottom", fontsize=9, color=MUTED)
        axes.text(-0.62, -1.2, "tuned for", ha="right", va="bottom", fontsize=9, color=MUTED)
        drawing.add_texts(figure, title, notice, left=0.12 / width)
        drawing.save(figure, stem)


def _lines(countries: dict[str, Any]) -> list[list[Any]]:
    codes = countries["codes"]
    lines: list[list[Any]] = [
        ["matrix", row, column, loss, None, None, None]
        for row, losses in zip(codes, countries["matrix"] or [], strict=False)
        for column, loss in zip(codes, losses, strict=True)
    ]
    lines += [
        ["naive", "naive", column, loss, None, None, None]
        for column, loss in zip(codes, countries["naive"] or [], strict=False)
    ]
    lines += [
        [
            "difference",
            each["country"],
            each["dimension"],
            each["tuned"],
            each["target"],
            None,
            None,
        ]
        for each in countries["differences"] or []
    ]
    lines += [
        ["tau", None, each["dimension"], each["tau"], None, each["p"], each["n"]]
        for each in countries["tau"] or []
    ]
    return lines


def _differences(countries: dict[str, Any], dimensions: list[str]) -> str:
    each = countries["differences"] or []
    if not each:
        return ""
    found = {(one["country"], one["dimension"]): one for one in each}
    rows = []
    for code in dict.fromkeys(one["country"] for one in each):
        name = countries["names"].get(code, code)
        for key, label in (("target", "published"), ("tuned", "tuned")):
            cells = [
                format_difference(found[code, dimension][key])
                if (code, dimension) in found else MISSING
                for dimension in dimensions
            ]  # fmt: skip
            rows.append([f"{name}, {label}", *cells])
    reference = countries["reference"]
    name = countries["names"].get(reference, reference) or "the reference"
    head = f"score less that of {name}"
    return render("differences", table=html_table([head, *dimensions], rows))


def _tau(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    lines = [
        [row["dimension"], format_decimals(row["tau"]), format_p(row["p"]), f"{row['n']:,}"]
        for row in rows
    ]
    table = html_table(["dimension", "Kendall’s tau", "p", "countries"], lines)
    return render("tau", table=table)
