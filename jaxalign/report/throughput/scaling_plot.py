"""How rate and seconds of a generation change with what is swept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxalign.report.drawing import GRID, INK, LINE_STYLES, MUTED, PALE, RC, add_texts, save

Figures = dict[str, Any]
RATE = "candidates/s"
_WIDE = 4  # from this ratio of largest to smallest on an axis is logarithmic
_MARKERS = "osD^vP"
_PEER: dict[str, Any] = {"color": MUTED, "linestyle": (0, (2, 2)), "marker": "x", "markersize": 5}


def plot_scaling(points: Sequence[Figures], title: str, notice: str | None, stem: Path) -> None:
    """Draws candidates/s and seconds per generation over what is swept; stem.png and stem.svg.

    The first key with numbers is the horizontal axis, else the first key, its values side by side;
    each combination of the other keys is a line, six at most. An axis whose values span a factor of
    four or more is logarithmic. Where the population is swept a thin line continues the first
    setting's seconds in proportion.

    Args:
      points: figures of at least one measured setting of a sweep.
      title: stands above.
      notice: stands below, None for nothing.
      stem: path without the ending.
    """
    measured = [point for point in points if "error" not in point]
    key = _horizontal(measured)
    lines: dict[str, list[Figures]] = {}
    for point in measured:
        own = {name: value for name, value in point["swept"].items() if name != key}
        label = " ".join(f"{name.rpartition('.')[2]}={value}" for name, value in own.items())
        lines.setdefault(label, []).append(point)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(9, 4.2))
        left, right = figure.subplots(1, 2)
        figure.subplots_adjust(left=0.08, right=0.98, top=0.84, bottom=0.2, wspace=0.24)
        add_texts(figure, title, notice, 0.01)
        _draw(left, key, lines, RATE)
        _draw(right, key, lines, "seconds per generation")
        if len(lines) > 1 or any("peer" in point for point in measured):
            left.legend(frameon=False, fontsize=8.5)
        save(figure, stem)


def _horizontal(points: Sequence[Figures]) -> str:
    keys = list(points[0]["swept"])
    numbers = [key for key in keys if all(_is_number(point["swept"][key]) for point in points)]
    return (numbers or keys)[0]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _draw(axes: Axes, key: str, lines: dict[str, list[Figures]], what: str) -> None:
    every = [point for line in lines.values() for point in line]
    numbers = all(_is_number(point["swept"][key]) for point in every)
    names = list(dict.fromkeys(str(point["swept"][key]) for point in every))

    def across(point: Figures) -> float:
        value = point["swept"][key]
        return value if numbers else names.index(str(value))

    def up(figures: Figures) -> float:
        rate = figures["candidates_per_second"]
        return rate if what == RATE else figures["candidates"] / rate

    shown = []
    for place, (label, line) in enumerate(list(lines.items())[: len(LINE_STYLES)]):
        color, dashes = LINE_STYLES[place]
        line = sorted(line, key=across)
        heights = [up(point) for point in line]
        shown += heights
        axes.plot([across(point) for point in line], heights, color=color, linestyle=dashes,
                  marker=_MARKERS[place], markersize=5, linewidth=1.6, zorder=3,
                  label=label or "jaxalign")  # fmt: skip
        beside = [point for point in line if "peer" in point]
        if beside:
            heights = [up(point["peer"] | {"candidates": point["candidates"]}) for point in beside]
            shown += heights
            axes.plot([across(point) for point in beside], heights, linewidth=1, zorder=2,
                      label=beside[0]["peer"]["name"] if place == 0 else None, **_PEER)  # fmt: skip
    first = min(every, key=across)
    places = sorted({across(point) for point in every})
    if key == "search.population" and what != RATE and len(places) > 1:
        each = up(first) / across(first)
        axes.plot(places, [each * place for place in places], color=PALE, linewidth=1, zorder=1)
        axes.annotate("in proportion", (places[-1], each * places[-1]), (-14, 6), color=MUTED,
                      textcoords="offset points", fontsize=8, ha="right")  # fmt: skip
    if not numbers:
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
    elif min(places) > 0 and max(places) >= _WIDE * min(places):
        axes.set_xscale("log")
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    else:
        axes.set_xticks(places, [f"{place:g}" for place in places])
    if max(shown) >= _WIDE * min(shown):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    else:
        axes.set_ylim(0, max(shown) * 1.12)
    axes.set_xlabel(key)
    axes.set_title(what, loc="left", fontsize=10, weight="bold", color=INK)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
