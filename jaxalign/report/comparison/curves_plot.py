"""Best loss over evaluations: a few methods in colour before the grey of all others."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from jaxalign.report.comparison.histories import Run
from jaxalign.report.comparison.loss_axis import WIDTH, LossAxis
from jaxalign.report.comparison.statistics import loss_at, quartiles, summarise
from jaxalign.report.drawing import (
    LINE_STYLES,
    PALE,
    End,
    add_about,
    name_ends,
    new_figure,
    short,
)
from jaxalign.report.numbers import format_loss


def plot_curves(
    runs: Sequence[Run],
    budget: int,
    title: str,
    notice: str | None,
    stem: Path,
    highlighted: Sequence[str] | None = None,
) -> None:
    """Draw the median best loss of each method over evaluations into stem.png and stem.svg.

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
    panel = max(3.6, 0.2 * len(ranked) + 0.5)
    with new_figure(stem, title, notice, (WIDTH, 1.1 + panel * len(countries))) as body:
        grid = body.subplots(len(countries), squeeze=False)[:, 0]
        ends = {}
        for axes, country in zip(grid, countries, strict=True):
            of_country = [run for run in runs if run.country == country]
            axis.set(axes, "y", of_country[0])
            axes.set_xlim(0, budget)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.set_ylabel("best loss so far")
            axes.grid(axis="y")
            ends[axes] = _draw(axes, of_country, ranked, styles, axis)
        grid[-1].set_xlabel("evaluations")
        about = "Median over seeds; band between the quartiles; dotted: the naive loss"
        add_about(body, about + axis.note)
        name_ends(body, ends)


def _draw(
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
