"""Answer distributions as stacked bars: for each item the target's, the naive and the tuned."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from jaxalign.report.answers import Answers
from jaxalign.report.drawing import (
    BLUE,
    GREEN,
    GROUND,
    INK,
    MUTED,
    ORANGE,
    PINK,
    Sheet,
    new_figure,
    short,
)
from jaxalign.report.numbers import format_score

MOST = 12  # items in one plot
_BAR, _HEAD, _GAP = 0.19, 0.44, 0.12  # height in inches of a bar, an item's text, and between items
_LONGEST = 88  # letters of a line
_HUES = (BLUE, ORANGE, GREEN, PINK, MUTED)  # of options without an order
_PALEST, _STRONGEST = 0.12, 0.62  # opacity of the first and last of ordered options
_LEGIBLE = 6.0  # smallest share in percent whose number fits into its bar
_KINDS = {"target": None, "naive": "naive", "tuned": "best"}  # to the key of its distance


def plot_distributions(items: Sequence[Answers], sheet: Sheet) -> None:
    """Draw the distributions of each item one below the other.

    If there are more than MOST items, those are drawn whose tuned answers are farthest from the
    target.

    Args:
        items: of `read_answers`.
        sheet: title, notice and path of the plot.
    """
    farthest = sorted(items, key=lambda item: -(item.distance["best"] or 0.0))[:MOST]
    shown = [item for item in items if item in farthest]
    each = _HEAD + len(_KINDS) * _BAR + _GAP
    with new_figure(sheet, (7.2, 0.85 + len(shown) * each)) as body:
        axes = body.subplots()
        axes.set(xlim=(0, 100), ylim=(len(shown) * each, 0))
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=8.5)
        axes.set_xticks([])
        tops = [index * each for index in range(len(shown))]
        bars = [top + _HEAD + (row + 0.5) * _BAR for top in tops for row in range(len(_KINDS))]
        axes.set_yticks(bars, [*_KINDS] * len(shown))
        axes.text(101.5, 0, "distance", fontsize=8.5, color=MUTED, va="bottom")
        for item, top in zip(shown, tops, strict=True):
            _draw_item(axes, item, top)


def _draw_item(axes: Axes, item: Answers, top: float) -> None:
    axes.text(0, top + 0.14, short(f"{item.id}: {item.text}", _LONGEST), fontsize=9, weight="bold",
              va="center")  # fmt: skip
    axes.text(0, top + 0.32, short(" · ".join(item.options), _LONGEST), fontsize=8, color=MUTED,
              va="center")  # fmt: skip
    for row, (kind, key) in enumerate(_KINDS.items()):
        middle = top + _HEAD + (row + 0.5) * _BAR
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
    """Return colour and opacity: ordered options go from pale to strong, others differ in hue."""
    if item.measure == "Jensen-Shannon":
        return _HUES[option % len(_HUES)], 0.4
    return BLUE, _PALEST + (_STRONGEST - _PALEST) * option / (len(item.options) - 1)
