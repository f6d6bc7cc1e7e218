"""The plot to read first: every run's final loss as a dot, the best method on top."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.markers import CARETLEFT

from jaxalign.report.comparison.histories import KINDS, Run
from jaxalign.report.comparison.loss_axis import WIDTH, LossAxis
from jaxalign.report.comparison.statistics import Summary, loss_at, quartiles, summarise
from jaxalign.report.drawing import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PINK,
    add_about,
    new_figure,
    short,
)
from jaxalign.report.numbers import format_loss

_STYLES = {  # colour, marker, words
    "ours": (BLUE, "o", "ours"),
    "evosax": (GREEN, "s", "evosax"),
    "outside": (ORANGE, "^", "outside optimiser"),
    "gradient": (PINK, "D", "gradient: sees inside the model"),
}


def plot_finals(
    runs: Sequence[Run], budget: int, title: str, notice: str | None, stem: Path
) -> None:
    """Draw every run's final loss as a dot and the medians as bars into stem.png and stem.svg.

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
    with new_figure(stem, title, notice, (WIDTH, 2.4 + 0.27 * len(ranked))) as body:
        grid = body.subplots(1, len(countries), squeeze=False)[0]
        for axes, country in zip(grid, countries, strict=True):
            of_country = [run for run in runs if run.country == country]
            axis.set(axes, "x", of_country[0])
            _draw(axes, of_country, ranked, budget, axis)
        names = [f"{short(line.method)}   {line.rank:\N{FIGURE SPACE}>2}" for line in ranked]
        grid[0].set_yticks(range(len(ranked)), names)
        handles = [
            Line2D([], [], linestyle="none", marker=marker, color=color, markeredgewidth=0,
                   label=text)
            for color, marker, text in (
                _STYLES[kind] for kind in KINDS if kind in {line.kind for line in ranked}
            )
        ]  # fmt: skip
        body.legend(handles=handles, loc="outside upper left", ncols=len(handles))
        about = (
            f"Loss after {budget:,} evaluations: a dot per seed; bar and number: the median. "
            "Ranked by the median share of the naive loss (dotted)"
        )
        add_about(body, about + axis.note)


def _draw(
    axes: Axes, runs: Sequence[Run], ranked: Sequence[Summary], budget: int, axis: LossAxis
) -> None:
    """Draw one country."""
    for row, line in enumerate(ranked):
        losses = [loss_at(run, budget) for run in runs if run.method == line.method]
        if losses:
            _draw_row(axes, row, losses, line.kind, axis)
    axes.set_ylim(len(ranked) - 0.5, -0.5)
    axes.set_yticks(range(len(ranked)), [])
    axes.grid()
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _draw_row(axes: Axes, row: int, losses: Sequence[float], kind: str, axis: LossAxis) -> None:
    """Draw one method's seeds and their median."""
    color, marker, _ = _STYLES[kind]
    inside = [loss for loss in losses if axis.low <= loss < math.inf]
    below = [axis.low for loss in losses if loss < axis.low]
    failed = [axis.high for loss in losses if loss == math.inf]
    for values, shape in ((inside, marker), (below, CARETLEFT), (failed, "x")):
        if not values:
            continue
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
