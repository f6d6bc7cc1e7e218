"""How the rate and the seconds of a generation change with what is swept."""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes

from jaxalign.report.drawing import (
    LINE_STYLES,
    MUTED,
    NAIVE_DASHES,
    PALE,
    Sheet,
    new_figure,
    scale_axis,
)

Figures = dict[str, Any]
_LOG_FROM = 4  # ratio of largest to smallest value
_MARKERS = "osD^vP"
_PEER: dict[str, Any] = {"color": MUTED, "linestyle": NAIVE_DASHES, "marker": "x", "markersize": 5}
_PANELS: dict[str, Callable[[Figures], float]] = {
    "candidates/s": lambda figures: figures["candidates_per_second"],
    "seconds per generation": lambda figures: (
        figures["candidates"] / figures["candidates_per_second"]
    ),
}


def plot_scaling(points: Sequence[Figures], sheet: Sheet) -> None:
    """Draw candidates/s and seconds per generation over what is swept.

    The first key with numbers is the horizontal axis, else the first key, its values side by side;
    each combination of the other keys is a line, six at most. An axis whose values span a factor of
    four or more is logarithmic. Where the population is swept, a thin line continues the first
    setting's seconds in proportion.

    Args:
      points: figures of at least one measured setting of a sweep.
      sheet: title, notice and path of the plot.
    """
    measured = [point for point in points if "error" not in point]
    keys = list(measured[0]["swept"])
    numeric = [key for key in keys if all(_is_number(point["swept"][key]) for point in measured)]
    key = (numeric or keys)[0]
    lines: dict[str, list[Figures]] = {}
    for point in measured:
        own = {name: value for name, value in point["swept"].items() if name != key}
        label = " ".join(f"{name.rpartition('.')[2]}={value}" for name, value in own.items())
        lines.setdefault(label, []).append(point)
    with new_figure(sheet, (9, 4.2)) as body:
        panels = body.subplots(1, 2)
        for axes, what in zip(panels, _PANELS, strict=True):
            _draw(axes, key, lines, what)
        if len(lines) > 1 or any("peer" in point for point in measured):
            panels[0].legend(fontsize=8.5)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _draw(axes: Axes, key: str, lines: dict[str, list[Figures]], what: str) -> None:
    every = [point for line in lines.values() for point in line]
    numeric = all(_is_number(point["swept"][key]) for point in every)
    names = list(dict.fromkeys(str(point["swept"][key]) for point in every))
    height = _PANELS[what]

    def across(point: Figures) -> float:
        value = point["swept"][key]
        return value if numeric else names.index(str(value))

    shown: list[float] = []

    def plot(points: Sequence[Figures], heights: list[float], **style: Any) -> None:
        axes.plot([across(point) for point in points], heights, **style)
        shown.extend(heights)

    styles = zip(LINE_STYLES, _MARKERS, strict=True)
    for (label, line), ((color, dashes), marker) in zip(lines.items(), styles, strict=False):
        line = sorted(line, key=across)
        plot(line, [height(point) for point in line], color=color, linestyle=dashes, marker=marker,
             markersize=5, linewidth=1.6, zorder=3, label=label or "jaxalign")  # fmt: skip
        beside = [point for point in line if "peer" in point]
        if beside:
            peers = [height({**point, **point["peer"]}) for point in beside]
            named = not any(other.get_label() == beside[0]["peer"]["name"] for other in axes.lines)
            plot(beside, peers, linewidth=1, zorder=2,
                 label=beside[0]["peer"]["name"] if named else None, **_PEER)  # fmt: skip
    ticks = sorted({across(point) for point in every})
    if key == "search.population" and what != "candidates/s" and len(ticks) > 1:
        first = min(every, key=across)
        each = height(first) / across(first)
        axes.plot(ticks, [each * tick for tick in ticks], color=PALE, linewidth=1, zorder=1)
        axes.annotate("in proportion", (ticks[-1], each * ticks[-1]), (-14, 6), color=MUTED,
                      textcoords="offset points", fontsize=8, ha="right")  # fmt: skip
    scale_axis(axes, "y", shown, log_from=_LOG_FROM)
    if not numeric:
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
    else:
        if min(ticks) > 0 and max(ticks) >= _LOG_FROM * min(ticks):
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlabel(key)
    axes.set_title(what)
    axes.grid(axis="y")
