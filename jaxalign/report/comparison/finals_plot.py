"""The plot to read first: every run's final loss as a dot, the best method on top."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import CARETLEFT

from jaxalign.report import drawing
from jaxalign.report.comparison.histories import KINDS, Run
from jaxalign.report.comparison.loss_axis import NAIVE_DASHES, WIDTH, LossAxis, add_about
from jaxalign.report.comparison.statistics import Summary, loss_at, quartiles, summarise
from jaxalign.report.drawing import BLUE, GREEN, GRID, INK, MUTED, ORANGE, PINK, short
from jaxalign.report.numbers import format_loss

_STYLES = {  # colour, marker, words
    "ours": (BLUE, "o", "ours"),
    "evosax": (GREEN, "s", "evosax"),
    "outside": (ORANGE, "^", "outside optimiser"),
    "gradient": (PINK, "D", "gradient: sees inside the model"),
}
_ROW, _TOP, _BOTTOM = 0.27, 1.0, 0.85  # inches
_RANK, _NUMBER = 0.3, 0.55  # inches beside a panel for the rank and for the median


def plot_finals(
    runs: Sequence[Run], budget: int, title: str, notice: str | None, stem: Path
) -> None:
    """Draws every run's final loss as a dot and the medians as bars into stem.png and stem.svg.

    One row per method, ordered by rank; one panel per country, on one logarithmic loss axis. Dashes
    mark the naive loss, a caret a loss below the axis, a cross a run in which all failed.

    Args:
      runs: of `read_runs`, at least one.
      budget: evaluations that each run was given.
      title: stands above the plot.
      notice: stands below it, None for nothing.
      stem: the path without a suffix.
    """
    axis = LossAxis.holding(runs, [loss_at(run, budget) for run in runs])
    ranked = [line for line in summarise(runs, budget) if line.country is None]
    countries = list(dict.fromkeys(run.country for run in runs))
    left = 0.25 + _RANK + 0.083 * max(len(short(line.method)) for line in ranked)
    each = (WIDTH - left) / len(countries)
    rows = _ROW * len(ranked)
    height = _TOP + rows + _BOTTOM
    with matplotlib.rc_context(drawing.RC):
        figure = Figure(figsize=(WIDTH, height))
        for index, country in enumerate(countries):
            axes = figure.add_axes(
                ((left + index * each) / WIDTH, _BOTTOM / height,
                 (each - _NUMBER) / WIDTH, rows / height)
            )  # fmt: skip
            axis.set(axes, "x")
            _draw(axes, [run for run in runs if run.country == country], ranked, budget, axis)
            if index == 0:
                _add_names(axes, ranked)
        _add_kinds(figure, {line.kind for line in ranked}, left / WIDTH, 1 - 0.52 / height)
        about = (
            f"Loss after {budget:,} evaluations: a dot per seed; bar and number: the median. "
            "Ranked by the median share of the naive loss (dotted)"
        )
        add_about(figure, about + axis.note, notice)
        drawing.add_texts(figure, title, notice, left=0.02)
        drawing.save(figure, stem)


def _draw(
    axes: Axes, runs: Sequence[Run], ranked: Sequence[Summary], budget: int, axis: LossAxis
) -> None:
    """Draws one country."""
    naive = runs[0].naive_loss
    axes.set_title(f"{runs[0].country}, naive {format_loss(naive)}", loc="left", fontsize=10,
                   weight="bold")  # fmt: skip
    axes.axvline(naive, color=INK, linewidth=1, linestyle=NAIVE_DASHES, zorder=2)
    for row, line in enumerate(ranked):
        losses = [loss_at(run, budget) for run in runs if run.method == line.method]
        if losses:
            _draw_row(axes, row, losses, line.kind, axis)
    axes.set_ylim(len(ranked) - 0.5, -0.5)
    axes.set_yticks(range(len(ranked)), [])
    axes.grid(axis="both", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw_row(axes: Axes, row: int, losses: Sequence[float], kind: str, axis: LossAxis) -> None:
    """Draws one method's seeds and their median."""
    color, marker, _ = _STYLES[kind]
    inside = [loss for loss in losses if axis.low <= loss < math.inf]
    below = [axis.low for loss in losses if loss < axis.low]
    failed = [axis.high for loss in losses if loss == math.inf]
    for values, shape in ((inside, marker), (below, CARETLEFT), (failed, "x")):
        axes.plot(values, np.full(len(values), row), linestyle="none", marker=shape, color=color,
                  markersize=5.5, markeredgewidth=1.4 if shape == "x" else 0, alpha=0.75, zorder=4,
                  clip_on=False)  # fmt: skip
    median = quartiles(losses).median
    if math.isfinite(median):
        place = max(median, axis.low)
        axes.plot([place, place], [row - 0.34, row + 0.34], color=INK, linewidth=2, zorder=5,
                  clip_on=False)  # fmt: skip
    text = format_loss(median) if math.isfinite(median) else "failed"
    axes.annotate(text, (1, row), (8, 0), xycoords=axes.get_yaxis_transform(), fontsize=9,
                  textcoords="offset points", va="center_baseline")  # fmt: skip


def _add_names(axes: Axes, ranked: Sequence[Summary]) -> None:
    """Writes ranks and names as two columns, each flush right."""
    for row, line in enumerate(ranked):
        for text, points, color in (
            (str(line.rank), -8, MUTED),
            (short(line.method), -8 - 72 * _RANK, INK),
        ):
            axes.annotate(text, (0, row), (points, 0), xycoords=axes.get_yaxis_transform(),
                          textcoords="offset points", ha="right", va="center_baseline",
                          color=color)  # fmt: skip


def _add_kinds(figure: Figure, kinds: set[str], left: float, height: float) -> None:
    handles = [
        Line2D([], [], linestyle="none", marker=marker, color=color, markeredgewidth=0, label=text)
        for color, marker, text in (_STYLES[kind] for kind in KINDS if kind in kinds)
    ]
    figure.legend(handles=handles, loc="center left", bbox_to_anchor=(left, height), frameon=False,
                  ncols=len(handles), fontsize=9, borderpad=0, borderaxespad=0, handlelength=1,
                  handletextpad=0.4, columnspacing=1.6)  # fmt: skip
