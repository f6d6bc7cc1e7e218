"""What a sample of so many simulated respondents would show, beside the formula's error."""

import math
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxalign.report import drawing
from jaxalign.report.drawing import GRID
from jaxalign.report.evidence.rows_plot import STYLES
from jaxalign.report.evidence.section import (
    Section,
    cell,
    drawn,
    figure,
    html_table,
    render,
    write_csv,
)
from jaxalign.report.numbers import format_decimals, format_interval, format_loss

_COLUMNS = (
    "method", "n", "loss", "low", "high", "dimension", "mean", "sampling_sd", "formula_sd",
)  # fmt: skip
_DASHES = {"naive": (0, (5, 2)), "tuned": "-"}


def write_respondents(evaluation: dict[str, Any], folder: Path) -> Section:
    """Writes respondents.csv and the plot into the folder; returns the section, if there is one."""
    rows, notice = evaluation["respondents"], evaluation["notice"]
    if not rows:
        return Section()
    lines = [
        [row["method"], row["n"], row["loss"], row["low"], row["high"], dimension, of_it["mean"],
         of_it["sampling_sd"], of_it["formula_sd"]]
        for row in rows
        for dimension, of_it in row["dimensions"].items()
    ]  # fmt: skip
    written = write_csv(folder / "respondents.csv", _COLUMNS, lines, notice)
    plot_respondents(rows, "Samples of simulated respondents", notice, folder / "respondents")
    html = render(
        "respondents",
        figure=figure(
            folder, "respondents", "Loss and sampling error; the values are in respondents.csv",
            "Left: mean loss of samples of n respondents, the lines their 95% range. Right: "
            "standard deviation of a score over such samples, mean over the dimensions (marks), "
            "and what the formula expects (lines).",
        ),
        table=_table(rows),
    )  # fmt: skip
    return Section(html, (written, *drawn("respondents")))


def plot_respondents(
    rows: list[dict[str, Any]], title: str, notice: str | None, stem: Path
) -> None:
    """Draws loss, and sampling error beside the formula's, over the number of respondents.

    Args:
        rows: as in evaluation.json, at least one.
        title: stands above the plot.
        notice: stands below it, None for nothing.
        stem: of the files, stem.png and stem.svg.
    """
    methods = list(dict.fromkeys(row["method"] for row in rows))
    sizes = sorted({int(row["n"]) for row in rows})
    with matplotlib.rc_context(drawing.RC):
        figure = Figure(figsize=(8.2, 3.6))
        left = figure.add_axes((0.075, 0.2, 0.4, 0.58))
        right = figure.add_axes((0.575, 0.2, 0.4, 0.58))
        for index, method in enumerate(methods):
            of_method = sorted((r for r in rows if r["method"] == method), key=lambda r: r["n"])
            style = STYLES.get(method, STYLES["control"])
            dashes = _DASHES.get(method, (0, (2, 2)))
            shift = 1 + 0.08 * (index - (len(methods) - 1) / 2)  # so that ranges stay apart
            places = [row["n"] * shift for row in of_method]
            losses = drawing.as_array(row["loss"] for row in of_method)
            left.vlines(places, drawing.as_array(row["low"] for row in of_method),
                        drawing.as_array(row["high"] for row in of_method),
                        color=style["color"], linewidth=2.5, alpha=0.45)  # fmt: skip
            left.plot(places, losses, linestyle=dashes, linewidth=1.3, label=method, **style)
            sampled, formula = (
                drawing.as_array(_mean(row, key) for row in of_method)
                for key in ("sampling_sd", "formula_sd")
            )
            right.plot(places, sampled, linestyle="none", markersize=7, **style)
            right.plot(places, formula, color=style["color"], linestyle=dashes, linewidth=1.3)
        for axes, label in ((left, "loss"), (right, "standard deviation of a score")):
            _set_axes(axes, sizes, label)
        figure.legend(*left.get_legend_handles_labels(), loc="center left", frameon=False,
                      bbox_to_anchor=(0.07, 0.84), ncols=len(methods), fontsize=9, borderpad=0,
                      borderaxespad=0, handlelength=3)  # fmt: skip
        drawing.add_texts(figure, title, notice, left=0.02)
        drawing.save(figure, stem)


def _set_axes(axes: Axes, sizes: list[int], label: str) -> None:
    axes.set_xscale("log")
    axes.set_xlim(sizes[0] / 1.5, sizes[-1] * 1.5)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set_ylim(bottom=0)
    axes.set_xlabel("respondents")
    axes.set_ylabel(label)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _mean(row: dict[str, Any], key: str) -> float:
    values = [of_it[key] for of_it in row["dimensions"].values() if of_it[key] is not None]
    return sum(values) / len(values) if values else math.nan


def _table(rows: list[dict[str, Any]]) -> str:
    dimensions = list(dict.fromkeys(key for row in rows for key in row["dimensions"]))
    lines = []
    for row in rows:
        line = [row["method"], f"{row['n']:,}", format_loss(row["loss"])]
        line.append(format_interval((row["low"], row["high"])))
        for key in dimensions:
            of_it = row["dimensions"].get(key) or {"sampling_sd": None, "formula_sd": None}
            sampled, formula = (of_it[name] for name in ("sampling_sd", "formula_sd"))
            line.append(cell(format_decimals(sampled, 1), f"({format_decimals(formula, 1)})"))
        lines.append(line)
    heads = ["method", "n", "mean loss", "95% range", *(f"{key}, sd" for key in dimensions)]
    return html_table(heads, lines)
