"""Best loss over evaluations: a few methods in colour before the grey of all others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxalign.report import plots
from jaxalign.report.comparison.histories import Run
from jaxalign.report.comparison.loss_axis import NAIVE_DASHES, WIDTH, LossAxis, add_about, short
from jaxalign.report.comparison.statistics import loss_at, quartiles, summarise
from jaxalign.report.numbers import MISSING, format_loss
from jaxalign.report.plots import BLUE, GREEN, GRID, INK, MUTED, ORANGE, PALE, PINK

_HIGHLIGHTS = (  # colours of Okabe and Ito; the dashes tell them apart without
    (BLUE, "-"),
    (ORANGE, (0, (6, 2))),
    (GREEN, (0, (6, 1.5, 1.5, 1.5))),
    (PINK, (0, (3, 1))),
    ("#E69F00", (0, (1.2, 1.2))),
    ("#56B4E9", (0, (8, 1.5, 1.5, 1.5, 1.5, 1.5))),
)
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
    styles = dict(zip(chosen, _HIGHLIGHTS, strict=False))
    countries = list(dict.fromkeys(run.country for run in runs))
    right = 1.2 + 0.07 * max(len(short(name)) for name in ranked)
    panel = max(3.2, _LINE * len(ranked))
    height = _TOP + len(countries) * panel + (len(countries) - 1) * _BETWEEN + _BOTTOM
    with matplotlib.rc_context(plots._RC):
        figure = Figure(figsize=(WIDTH, height))
        for index, country in enumerate(countries):
            low = _BOTTOM + (len(countries) - 1 - index) * (panel + _BETWEEN)
            axes = figure.add_axes(
                (_LEFT / WIDTH, low / height, (WIDTH - _LEFT - right) / WIDTH, panel / height)
            )
            axis.set(axes, "y")
            of_country = [run for run in runs if run.country == country]
            ends = _draw(axes, of_country, ranked, styles, budget, axis)
            _name_ends(axes, ends, styles, axis, gap=_LINE / panel)
        axes.set_xlabel("evaluations")  # of the lowest panel
        about = "Median over seeds; band between the quartiles; dotted: the naive loss"
        add_about(figure, about + axis.note, notice)
        plots._add_texts(figure, title, notice, left=0.02)
        plots._save(figure, stem)


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


def _name_ends(
    axes: Axes, ends: dict[str, float], styles: dict[str, Any], axis: LossAxis, gap: float
) -> None:
    """Names the lines right of the panel, each joined to its end by a thin line."""
    ordered = sorted(ends, key=lambda name: (axis.share(ends[name]), ends[name], name))
    wanted = [axis.share(ends[name]) for name in ordered]
    inch = 1 / (axes.get_position().width * WIDTH)
    for name, start, place in zip(ordered, wanted, spread(wanted, gap), strict=True):
        bold = name in styles
        color, dashes = styles.get(name, _GREY)
        line = {"transform": axes.transAxes, "color": color, "clip_on": False}
        turn, stop = 1 + 0.25 * inch, 1 + 0.55 * inch
        axes.plot([1, turn], [start, place], linewidth=0.7, **line)
        axes.plot([turn, stop], [place, place], linewidth=1.9 if bold else 0.7,
                  linestyle=dashes, **line)  # fmt: skip
        loss = format_loss(ends[name])
        text = f"{short(name)}  {'failed' if loss == MISSING else loss}"
        axes.text(stop + 0.06 * inch, place, text, transform=axes.transAxes, fontsize=8.5,
                  va="center_baseline", color=INK if bold else MUTED)  # fmt: skip


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Moves ascending places as little as can be, by least squares, to be a gap apart.

    Less a gap for each one before it, a place may only stay or rise: isotonic regression, by
    pooling neighbours that fall into their mean. Then all are kept between 0 and 1, if they fit.
    """
    pools: list[tuple[float, int]] = []  # mean, count
    for index, place in enumerate(wanted):
        mean, count = place - index * gap, 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean = (before * many + mean * count) / (many + count)
            count += many
        pools.append((mean, count))
    highest = max(0.0, 1 - (len(wanted) - 1) * gap)
    means = [min(max(mean, 0.0), highest) for mean, count in pools for _ in range(count)]
    return [mean + index * gap for index, mean in enumerate(means)]
