"""Answer distributions as stacked bars: of each item the target's, the naive and the tuned."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxalign.report import drawing
from jaxalign.report.answers import Answers
from jaxalign.report.drawing import BLUE, GREEN, GROUND, INK, MUTED, ORANGE, PINK
from jaxalign.report.numbers import format_score

MOST = 12  # items in one plot
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 7.2, 0.75, 0.75, 0.75, 0.4  # inches
_BAR, _HEAD, _GAP = 0.19, 0.4, 0.16  # inches: of a bar, of an item's two lines, between items
_LONGEST = 92  # letters of a line
_HUES = (BLUE, ORANGE, GREEN, PINK, MUTED)  # of options without an order
_PALEST, _STRONGEST = 0.12, 0.62  # opacity of the first and last of ordered options
_LEGIBLE = 6.0  # percent that a number needs for its width
_KINDS = {"target": None, "naive": "naive", "tuned": "best"}  # to the key of its distance


def plot_answers(items: Sequence[Answers], title: str, notice: str | None, stem: Path) -> None:
    """Draws each item's distributions under one another into stem.png and stem.svg.

    Of more than `MOST` items those are drawn whose tuned answers are farthest from the target.

    Args:
        items: of `read_answers`.
        title: stands above the plot.
        notice: stands below it, None for nothing.
        stem: the path without a suffix.
    """
    chosen = sorted(items, key=lambda item: -(item.distance["best"] or 0.0))[:MOST]
    drawn = [item for item in items if item in chosen]
    each = _HEAD + len(_KINDS) * _BAR + _GAP
    height = _TOP + len(drawn) * each + _BOTTOM
    with matplotlib.rc_context(drawing.RC):
        figure = Figure(figsize=(_WIDTH, height))
        wide = (_WIDTH - _LEFT - _RIGHT) / _WIDTH
        axes = figure.add_axes(
            (_LEFT / _WIDTH, _BOTTOM / height, wide, 1 - (_TOP + _BOTTOM) / height)
        )
        axes.set_xlim(0, 100)
        axes.set_ylim(len(drawn) * each, 0)
        axes.set_axis_off()
        axes.text(101.5, -0.04, "distance", fontsize=8.5, color=MUTED, va="bottom")
        for place, item in enumerate(drawn):
            _draw_item(axes, item, place * each)
        drawing.add_texts(figure, title, notice, left=0.1 / _WIDTH)
        drawing.save(figure, stem)


def _draw_item(axes: Axes, item: Answers, top: float) -> None:
    """Draws an item's two lines and bars; `top` is in inches from the upper end."""
    side = -100 * (_LEFT - 0.1) / (_WIDTH - _LEFT - _RIGHT)
    axes.text(side, top + 0.12, _cut(f"{item.id}: {item.text}"), fontsize=9, weight="bold",
              va="center")  # fmt: skip
    axes.text(side, top + 0.29, _cut(" · ".join(item.options)), fontsize=8, color=MUTED,
              va="center")  # fmt: skip
    for row, (kind, key) in enumerate(_KINDS.items()):
        middle = top + _HEAD + (row + 0.5) * _BAR
        axes.text(-1.5, middle, kind, fontsize=8.5, ha="right", va="center",
                  color=INK if kind == "tuned" else MUTED)  # fmt: skip
        if key is not None:
            axes.text(101.5, middle, format_score(item.distance[key]), fontsize=8.5, va="center")
        start = 0.0
        for option, share in enumerate(item.shares[kind]):
            if share is None or not math.isfinite(share):
                continue
            color, opacity = _shade(item, option)
            axes.barh(middle, share, 0.86 * _BAR, left=start, color=color, alpha=opacity,
                      edgecolor=GROUND, linewidth=0.8)  # fmt: skip
            if share >= _LEGIBLE:
                axes.text(start + share / 2, middle, f"{share:.0f}", fontsize=8, ha="center",
                          va="center_baseline", color=INK)  # fmt: skip
            start += share


def _shade(item: Answers, option: int) -> tuple[str, float]:
    """Ordered options go from pale to strong; others differ in hue."""
    if item.measure == "Jensen-Shannon":
        return _HUES[option % len(_HUES)], 0.4
    return BLUE, _PALEST + (_STRONGEST - _PALEST) * option / (len(item.options) - 1)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
