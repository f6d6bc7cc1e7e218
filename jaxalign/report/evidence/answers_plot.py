"""The heat map of answers: items by options, methods side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxalign.report import drawing
from jaxalign.report.drawing import INK, drawable, short
from jaxalign.report.evidence.heat_map import draw_cells, write_above, write_beside
from jaxalign.report.numbers import format_decimals

_ROW, _CELL, _LETTER = 0.235, 0.36, 0.066  # inches
_TOP, _BOTTOM, _BESIDE = 0.95, 0.4, 1.85
_PLACES = (1.2, 2.4, 3.75)  # of what stands beside, in cells from the last column's middle
_LONGEST = 44  # letters of an item's id and text
_ODD = {"refusal": "refused", "unparsed": "unclear"}


def plot_answers(
    items: Sequence[dict[str, Any]],
    methods: Sequence[str],
    title: str,
    notice: str | None,
    stem: Path,
) -> None:
    """Draws the shares of the options with entropy, off-scale mass and agreement beside them.

    Args:
        items: as in evaluation.json, at least one.
        methods: keys of the items, each a panel.
        title: stands above the plot.
        notice: stands below it, None for nothing.
        stem: of the files, stem.png and stem.svg.
    """
    names = [_name(item) for item in items]
    most = max(len(item["options"]) for item in items)
    left = 0.25 + _LETTER * max(map(len, names))
    panel = most * _CELL
    width = left + len(methods) * (panel + _BESIDE)
    rows = _ROW * len(items)
    height = _TOP + rows + _BOTTOM
    with matplotlib.rc_context(drawing.RC):
        figure = Figure(figsize=(width, height))
        for index, method in enumerate(methods):
            place = (left + index * (panel + _BESIDE)) / width
            axes = figure.add_axes((place, _BOTTOM / height, panel / width, rows / height))
            _draw(axes, [item[method] for item in items], most)
            axes.text(-0.5, -1.65, method, weight="bold", color=INK, va="bottom")
            if index == 0:
                write_beside(axes, -0.75, names, align="right")
        drawing.add_texts(figure, title, notice, left=0.12 / width)
        drawing.save(figure, stem)


def _name(item: dict[str, Any]) -> str:
    """Id and text; the id alone where the text is in letters that the plots do not have."""
    text = f"{item['id']}  {item['text']}"
    return short(text if drawable(text) else item["id"], _LONGEST)


def _draw(axes: Axes, answers: Sequence[dict[str, Any] | None], most: int) -> None:
    shares_QA = np.full((len(answers), most), np.nan)
    for row, answer in enumerate(answers):
        if answer:
            shares_QA[row, : len(answer["shares"])] = drawing.as_array(answer["shares"])
    texts = [[format_decimals(100 * share, 0) for share in row] for row in shares_QA]
    draw_cells(axes, shares_QA, texts, 0.0, 1.0)
    last = most - 1
    write_above(axes, range(most), [str(place + 1) for place in range(most)])
    write_above(axes, [last + place for place in _PLACES], ["entropy", "off", "written"])
    filled = [answer or {} for answer in answers]
    entropy = [format_decimals(each.get("entropy")) if each else "" for each in filled]
    off = [_percent(each.get("off_scale")) for each in filled]
    agrees = {True: "agrees", False: "differs", None: ""}
    written = [_ODD.get(each.get("kind") or "", agrees[each.get("agrees")]) for each in filled]
    for place, texts_Q in zip(_PLACES, (entropy, off, written), strict=True):
        write_beside(axes, last + place, texts_Q, muted=place == _PLACES[1])


def _percent(share: float | None) -> str:
    return "" if share is None else format_decimals(100 * share, 0)
