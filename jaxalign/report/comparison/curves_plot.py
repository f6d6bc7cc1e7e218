"""Best loss over evaluations: a few methods in colour before the grey of all others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxalign.report import drawing
from jaxalign.report.comparison.histories import Run
from jaxalign.report.comparison.loss_axis import NAIVE_DASHES, WIDTH, LossAxis, add_about
from jaxalign.report.comparison.statistics import loss_at, quartiles, summarise
from jaxalign.report.drawing import GRID, INK, LINE_STYLES, PALE, short
from jaxalign.report.numbers import MISSING, format_loss

_GREY = (PALE, "-")
_LEFT, _TOP, _BETWEEN, _BOTTOM = 0.75, 0.8, 0.8, 1.0  # inches
_LINE = 0.18  # inches from one name to the next


def plot_curves(
    runs: Sequence[Run],
    budget: int,
    title: str,
    notice: str | None,
    stem: Path,
    highlighted: Sequence[str] | None = None,
) -> None:
    """Draws the median best loss of each method over evaluations into stem.png and stem.svg.

    One panel per country, on one logarithmic loss axis; each line is named at its right end.

    Args:
      runs: of `read_runs`, at least one.
      budget: evaluations that each run was given.
      title: stands above the plot.
      notice: stands below it, None for nothing.
      stem: the path without a suffix.
      highlighted: methods drawn in colour, with a band between the quartiles; the first six of
        them if there are more, the six best if None. The others are thin and grey.
    """
    axis = LossAxis.holding(runs, [loss for run in runs for _, loss in run.points])
    ranked = [line.method for line in summarise(runs, budget) if line.country is None]
    chosen = ranked if highlighted is None else [name for name in highlighted if name in ranked]
    styles = dict(zip(chosen, LINE_STYLES, strict=False))
    countries = list(dict.fromkeys(run.country for run in runs))
    right = 1.2 + 0.07 * max(len(short(name)) for name in ranked)
    panel = max(3.2, _LINE * len(ranked))
    height = _TOP + len(countries) * panel + (len(countries) - 1) * _BETWEEN + _BOTTOM
    with matplotlib.rc_context(drawing.RC):
        figure = Figure(figsize=(WIDTH, height))
        for index, country in enumerate(countries):
            low = _BOTTOM + (len(countries) - 1 - index) * (panel + _BETWEEN)
            axes = figure.add_axes(
                (_LEFT / WIDTH, low / height, (WIDTH - _LEFT - right) / WIDTH, panel / height)
            )
            axis.set(axes, "y")
            of_country = [run for run in runs if run.country == country]
            ends = _draw(axes, of_country, ranked, styles, budget, axis)
            ordered = sorted(ends, key=lambda name: (axis.share(ends[name]), ends[name], name))
            named = [_end(name, ends[name], styles, axis) for name in ordered]
            drawing.name_ends(axes, named, gap=_LINE / panel)
        axes.set_xlabel("evaluations")  # of the lowest panel
        about = "Median over seeds; band between the quartiles; dotted: the naive loss"
        add_about(figure, about + axis.note, notice)
        drawing.add_texts(figure, title, notice, left=0.02)
        drawing.save(figure, stem)


def _draw(
    axes: Axes,
    runs: Sequence[Run],
    ranked: Sequence[str],
    styles: dict[str, Any],
    budget: int,
    axis: LossAxis,
) -> dict[str, float]:
    """Draws the methods of one country; returns each one's median at the end, inf if it failed."""
    naive = runs[0].naive_loss
    axes.set_title(f"{runs[0].country}, naive {format_loss(naive)}", loc="left", fontsize=10,
                   weight="bold")  # fmt: skip
    axes.axhline(naive, color=INK, linewidth=1, linestyle=NAIVE_DASHES, zorder=2)
    axes.set_xlim(0, budget)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_ylabel("best loss so far")
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    ends = {}
    for name in reversed(ranked):  # the best lies on top
        of_method = [run for run in runs if run.method == name]
        if not of_method:
            continue
        steps = {spent for run in of_method for spent, _ in run.points if spent <= budget}
        grid = sorted(steps | {budget})
        at = [quartiles(loss_at(run, spent) for run in of_method) for spent in grid]
        ends[name] = at[-1].median
        color, dashes = styles.get(name, _GREY)
        median = axis.clip([point.median for point in at])
        axes.plot(grid, median, drawstyle="steps-post", color=color, linestyle=dashes,
                  linewidth=1.9 if name in styles else 0.9, clip_on=False,
                  zorder=4 if name in styles else 3)  # fmt: skip
        if name in styles:
            low, high = ([getattr(point, part) for point in at] for part in ("low", "high"))
            axes.fill_between(grid, axis.clip(low), axis.clip(high), step="post", color=color,
                              alpha=0.13, linewidth=0)  # fmt: skip
    return ends


def _end(name: str, loss: float, styles: dict[str, Any], axis: LossAxis) -> drawing.End:
    color, dashes = styles.get(name, _GREY)
    text = format_loss(loss)
    text = f"{short(name)}  {'failed' if text == MISSING else text}"
    return drawing.End(text, axis.share(loss), color, dashes, bold=name in styles)
