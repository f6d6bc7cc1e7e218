"""The plots of a comparison: every run's final loss, and best loss over evaluations."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.markers import CARETLEFT

from jaxalign.report.comparison.histories import KINDS, Run
from jaxalign.report.comparison.statistics import Summary, loss_at, quartiles, summarise
from jaxalign.report.drawing import (
    BLUE,
    GREEN,
    INK,
    LINE_STYLES,
    NAIVE_DASHES,
    ORANGE,
    PALE,
    PINK,
    End,
    Sheet,
    add_about,
    name_ends,
    new_figure,
    set_log_axis,
    short,
)
from jaxalign.report.numbers import format_loss

WIDTH = 10.0  # inches; 9 points are then 12 pixels of 1000
_DEPTH = 1e-4  # of the naive loss: a smaller loss, 0 above all, would flatten all others
_STYLES = {  # colour, marker, words
    "ours": (BLUE, "o", "ours"),
    "evosax": (GREEN, "s", "evosax"),
    "outside": (ORANGE, "^", "outside optimiser"),
    "gradient": (PINK, "D", "gradient: sees inside the model"),
}


@dataclasses.dataclass(frozen=True)
class LossAxis:
    """One logarithmic axis for all panels.

    Attributes:
      low, high: its ends.
      clips: whether there is a loss below `low`, to be drawn there.
    """

    low: float
    high: float
    clips: bool

    @classmethod
    def holding(cls, runs: Sequence[Run], losses: Sequence[float]) -> "LossAxis":
        """Make the axis that holds the naive losses and these, as far as a logarithm can."""
        naive = [run.naive_loss for run in runs]
        finite = [loss for loss in losses if math.isfinite(loss)]
        shown = [loss for loss in finite if loss >= _DEPTH * max(naive)]
        clips = len(shown) < len(finite)
        return cls(min(shown + naive) / (2 if clips else 1.15), max(shown + naive) * 1.15, clips)

    @property
    def note(self) -> str:
        """What to say below the plot if a loss lies beyond the axis."""
        return f"; at the edge: {self.low:.2g} or less" if self.clips else ""

    def clip(self, losses: Sequence[float]) -> np.ndarray:
        """Move losses onto the axis; inf becomes a gap."""
        array = np.array(losses, float)
        return np.where(np.isfinite(array), np.maximum(array, self.low), np.nan)

    def set(self, axes: Axes, which: str, run: Run) -> None:
        """Make the x or the y axis this one, with the title and the naive loss of a country."""
        set_log_axis(axes, which, self.low, self.high)
        axes.set_title(f"{run.country}, naive {format_loss(run.naive_loss)}")
        draw = axes.axvline if which == "x" else axes.axhline
        draw(run.naive_loss, color=INK, linewidth=1, linestyle=NAIVE_DASHES, zorder=2)


def plot_finals(runs: Sequence[Run], budget: int, sheet: Sheet) -> None:
    """Draw every run's final loss as a dot and the medians as bars.

    One row per method, ordered by rank; one panel per country, on one logarithmic loss axis. Dashes
    mark the naive loss, a caret a loss below the axis, a cross a run in which all failed.

    Args:
      runs: of `read_runs`, at least one.
      budget: evaluations that each run was given.
      sheet: title, notice and path of the plot.
    """
    axis = LossAxis.holding(runs, [loss_at(run, budget) for run in runs])
    ranked = [line for line in summarise(runs, budget) if line.country is None]
    countries = list(dict.fromkeys(run.country for run in runs))
    with new_figure(sheet, (WIDTH, 2.4 + 0.27 * len(ranked))) as body:
        grid = body.subplots(1, len(countries), squeeze=False)[0]
        for axes, country in zip(grid, countries, strict=True):
            of_country = [run for run in runs if run.country == country]
            axis.set(axes, "x", of_country[0])
            _draw_finals(axes, of_country, ranked, budget, axis)
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


def _draw_finals(
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
        x = max(median, axis.low)
        axes.plot([x, x], [row - 0.34, row + 0.34], color=INK, linewidth=2, zorder=5,
                  clip_on=False)  # fmt: skip
    text = format_loss(median) if math.isfinite(median) else "failed"
    axes.annotate(text, (1, row), (8, 0), xycoords=axes.get_yaxis_transform(), fontsize=9,
                  textcoords="offset points", va="center_baseline")  # fmt: skip


def plot_curves(
    runs: Sequence[Run],
    budget: int,
    sheet: Sheet,
    highlighted: Sequence[str] | None = None,
) -> None:
    """Draw the median best loss of each method over evaluations.

    One panel per country, on one logarithmic loss axis; each line is named at its right end.

    Args:
      runs: of `read_runs`, at least one.
      budget: evaluations that each run was given.
      sheet: title, notice and path of the plot.
      highlighted: methods drawn in colour, with a band between the quartiles; the first six of
        them if there are more, the six best if None. The others are thin and grey.
    """
    axis = LossAxis.holding(runs, [loss for run in runs for _, loss in run.points])
    ranked = [line.method for line in summarise(runs, budget) if line.country is None]
    chosen = ranked if highlighted is None else [name for name in highlighted if name in ranked]
    styles = dict(zip(chosen, LINE_STYLES, strict=False))
    countries = list(dict.fromkeys(run.country for run in runs))
    panel = max(3.6, 0.2 * len(ranked) + 0.5)
    with new_figure(sheet, (WIDTH, 1.1 + panel * len(countries))) as body:
        grid = body.subplots(len(countries), squeeze=False)[:, 0]
        ends = {}
        for axes, country in zip(grid, countries, strict=True):
            of_country = [run for run in runs if run.country == country]
            axis.set(axes, "y", of_country[0])
            axes.set_xlim(0, budget)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.set_ylabel("best loss so far")
            axes.grid(axis="y")
            ends[axes] = _draw_curves(axes, of_country, ranked, styles, axis)
        grid[-1].set_xlabel("evaluations")
        about = "Median over seeds; band between the quartiles; dotted: the naive loss"
        add_about(body, about + axis.note)
        name_ends(body, ends)


def _draw_curves(
    axes: Axes, runs: Sequence[Run], ranked: Sequence[str], styles: dict[str, Any], axis: LossAxis
) -> list[End]:
    """Draw the methods of one country; return the ends of their lines, the lowest first."""
    budget = axes.get_xlim()[1]
    found = {}
    for name in reversed(ranked):  # the best lies on top
        of_method = [run for run in runs if run.method == name]
        if not of_method:
            continue
        bold = name in styles
        color, dashes = styles.get(name, (PALE, "-"))
        steps = {spent for run in of_method for spent, _ in run.points if spent <= budget}
        grid = sorted(steps | {budget})
        at = [quartiles(loss_at(run, spent) for run in of_method) for spent in grid]
        axes.plot(grid, axis.clip([point.median for point in at]), drawstyle="steps-post",
                  color=color, linestyle=dashes, linewidth=1.9 if bold else 0.9, clip_on=False,
                  zorder=4 if bold else 3)  # fmt: skip
        if bold:
            low, high = (
                axis.clip([getattr(point, end) for point in at]) for end in ("low", "high")
            )
            axes.fill_between(grid, low, high, step="post", color=color, alpha=0.13, linewidth=0)
        last = at[-1].median
        text = f"{short(name)}  {format_loss(last) if math.isfinite(last) else 'failed'}"
        found[last, name] = End(text, min(max(last, axis.low), axis.high), color, dashes, bold)
    return [found[key] for key in sorted(found)]
