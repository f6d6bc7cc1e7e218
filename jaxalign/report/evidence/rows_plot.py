"""A plot of rows: a name at the left, its losses as marks on one axis, rows in named groups."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxalign.report import drawing
from jaxalign.report.drawing import BLUE, GREEN, GRID, INK, MUTED, ORANGE, PINK, short

STYLES: dict[str, dict[str, Any]] = {
    "tuned": {"color": BLUE, "marker": "o"},
    "naive": {"color": ORANGE, "marker": "s"},
    "persona": {"color": GREEN, "marker": "^"},
    "control": {"color": PINK, "marker": "D"},
}
_ROW, _TOP, _BOTTOM, _PANEL, _RIGHT = 0.25, 0.8, 0.8, 4.6, 0.3  # inches
_LETTER = 0.075  # inches that a letter of a name takes
_LONGEST = 44  # letters of a name


class Mark(NamedTuple):
    """A loss in a row.

    Attributes:
      style: key of STYLES.
      loss: None leaves the mark out.
      interval: drawn as a thick line. spread: as a thin one with ends.
      hollow: whether the mark is not filled.
    """

    style: str
    loss: float | None
    interval: Sequence[float] | None = None
    spread: Sequence[float] | None = None
    hollow: bool = False


def plot_rows(
    groups: dict[str, list[tuple[str, list[Mark]]]],
    title: str,
    notice: str | None,
    stem: Path,
    *,
    legend: Sequence[str] = (),
) -> None:
    """Draws named rows of marks into stem.png and stem.svg.

    The axis is logarithmic when what it shows spans more than a factor of ten.

    Args:
        groups: head to rows, each a name and its marks; a group without rows is left out.
        title: stands above the plot.
        notice: stands below it, None for nothing.
        stem: the path without a suffix.
        legend: keys of STYLES to be named above the rows.
    """
    lines: list[tuple[str, list[Mark] | None]] = []
    for head, rows in groups.items():
        if rows:
            lines += [(head, None), *rows]
    longest = max((len(short(name, _LONGEST)) for name, _ in lines), default=0)
    left = 0.35 + _LETTER * longest
    width = left + _PANEL + _RIGHT
    top = _TOP if legend else _TOP - 0.3
    height = top + _ROW * len(lines) + _BOTTOM
    with matplotlib.rc_context(drawing.RC):
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes(
            (left / width, _BOTTOM / height, _PANEL / width, _ROW * len(lines) / height)
        )
        _set_axis(axes, [mark for _, marks in lines for mark in marks or ()])
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_yticks([])
        for row, (name, marks) in enumerate(lines):
            axes.annotate(
                short(name, _LONGEST), (0, row), (-8, 0), xycoords=axes.get_yaxis_transform(),
                textcoords="offset points", ha="right", va="center_baseline", fontsize=9,
                color=INK, weight="bold" if marks is None else "normal",
            )  # fmt: skip
            if marks is not None:
                axes.axhline(row, color=GRID, linewidth=0.6, zorder=1)
                _draw(axes, row, marks)
        if legend:
            _add_legend(figure, legend, left / width, 1 - 0.55 / height)
        drawing.add_texts(figure, title, notice, left=0.12 / width)
        drawing.save(figure, stem)


def _set_axis(axes: Axes, marks: Iterable[Mark]) -> None:
    every = [
        value
        for mark in marks
        for value in (mark.loss, *(mark.interval or ()), *(mark.spread or ()))
        if value is not None and math.isfinite(value)
    ] or [1.0]
    low, high = min(every), max(every)
    if low > 0 and high > 10 * low:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.2, high * 1.2)
        subs = (1, 2, 5) if high < 300 * low else (1,)
        axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=subs))
        axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    else:
        axes.set_xlim(min(0.0, 1.05 * low), max(1.06 * high, 1e-9))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("loss")
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw(axes: Axes, row: int, marks: Sequence[Mark]) -> None:
    for mark in marks:
        style = STYLES[mark.style]
        if mark.spread is not None:
            axes.plot(mark.spread, [row, row], color=MUTED, linewidth=0.9, marker="|",
                      markersize=7, zorder=2)  # fmt: skip
        if mark.interval is not None:
            axes.plot(mark.interval, [row, row], color=style["color"], linewidth=3.5, alpha=0.45,
                      solid_capstyle="butt", zorder=3)  # fmt: skip
        if mark.loss is not None:
            face: dict[str, Any] = {"markerfacecolor": "none"} if mark.hollow else {}
            axes.plot([mark.loss], [row], linestyle="none", markersize=6.5, markeredgewidth=1.5,
                      zorder=4, **style, **face)  # fmt: skip


def _add_legend(figure: Figure, names: Sequence[str], left: float, height: float) -> None:
    handles = [
        Line2D([], [], linestyle="none", markersize=6.5, label=name, **STYLES[name])
        for name in names
    ]
    figure.legend(handles=handles, loc="center left", bbox_to_anchor=(left, height), frameon=False,
                  ncols=len(handles), fontsize=9, borderpad=0, borderaxespad=0, handlelength=1,
                  handletextpad=0.4, columnspacing=1.6)  # fmt: skip
