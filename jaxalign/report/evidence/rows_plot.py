"""A plot of rows: a name at the left, its losses as marks on one axis, rows in named groups."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from jaxalign.report.drawing import GRID, METHOD_STYLES, MUTED, Sheet, new_figure, scale_axis, short


class Mark(NamedTuple):
    """A loss in a row.

    Attributes:
      style: key of METHOD_STYLES.
      loss: None leaves the mark out.
      interval: drawn as a thick line.
      spread: drawn as a thin line with ends.
      hollow: whether the mark is not filled.
    """

    style: str
    loss: float | None
    interval: Sequence[float] | None = None
    spread: Sequence[float] | None = None
    hollow: bool = False


def plot_rows(
    groups: dict[str, list[tuple[str, list[Mark]]]],
    sheet: Sheet,
    *,
    legend: Sequence[str] = (),
) -> None:
    """Draw named rows of marks.

    Args:
        groups: head to rows, each a name and its marks; a group without rows is left out.
        sheet: title, notice and path of the plot.
        legend: keys of METHOD_STYLES to be named above the rows.
    """
    lines: list[tuple[str, list[Mark] | None]] = []
    for head, rows in groups.items():
        if rows:
            lines += [(head, None), *rows]
    values = [
        value
        for _, marks in lines
        for mark in marks or ()
        for value in (mark.loss, *(mark.interval or ()), *(mark.spread or ()))
        if value is not None
    ]
    with new_figure(sheet, (8.4, 1.5 + 0.25 * len(lines))) as body:
        axes = body.subplots()
        scale_axis(axes, "x", values)
        axes.set_xlabel("loss")
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_yticks(range(len(lines)), [short(name, 44) for name, _ in lines], fontsize=9)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        for row, (label, (_, marks)) in enumerate(zip(axes.get_yticklabels(), lines, strict=True)):
            if marks is None:
                label.set_fontweight("bold")
            else:
                axes.axhline(row, color=GRID, linewidth=0.6, zorder=1)
                _draw(axes, row, marks)
        if legend:
            handles = [
                Line2D([], [], linestyle="none", markersize=6.5, label=name, **METHOD_STYLES[name])
                for name in legend
            ]
            body.legend(handles=handles, loc="outside upper left", ncols=len(handles))


def _draw(axes: Axes, row: int, marks: Sequence[Mark]) -> None:
    for mark in marks:
        style = METHOD_STYLES[mark.style]
        if mark.spread is not None:
            axes.plot(mark.spread, [row, row], color=MUTED, linewidth=0.9, marker="|",
                      markersize=7, zorder=2)  # fmt: skip
        if mark.interval is not None:
            axes.plot(mark.interval, [row, row], color=style["color"], linewidth=3.5, alpha=0.45,
                      solid_capstyle="butt", zorder=3)  # fmt: skip
        if mark.loss is not None:
            face = "none" if mark.hollow else style["color"]
            axes.plot([mark.loss], [row], linestyle="none", markersize=6.5, markeredgewidth=1.5,
                      zorder=4, markerfacecolor=face, **style)  # fmt: skip
