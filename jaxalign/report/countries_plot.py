"""All countries of a run in one plot: best loss over evaluations."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from jaxalign.report import drawing
from jaxalign.report.drawing import LINE_STYLES, PALE, as_array, last_finite, short
from jaxalign.report.numbers import format_loss
from jaxalign.report.parts import country_name

FEW = len(LINE_STYLES)  # countries that are each drawn and named in a style of their own
_GREY = (PALE, "-")
_LEFT, _PANEL, _HEIGHT = 0.65, 3.9, 4.1  # inches
_LINE = 0.06  # of the axis's height, from one name to the next


def plot_countries(
    records: Sequence[dict[str, Any]],
    countries: dict[str, dict[str, Any]],
    title: str,
    notice: str | None,
    stem: Path,
) -> None:
    """Draws each country's best loss over evaluations into stem.png and stem.svg.

    Up to FEW countries have a style of their own and are named at their ends. Of more, all are grey
    but the lowest, the middle and the highest at the end. Squares at the left are naive losses.

    Args:
        records: lines of metrics.jsonl, in order; a null or non-finite loss leaves a gap.
        countries: code to `country_name` and `loss`, as in summary.json.
        title: stands above the plot.
        notice: stands below it, None for nothing.
        stem: the path without a suffix.
    """
    evaluations = np.array([record["evaluations"] for record in records], float)
    curves = {
        code: as_array(
            record.get("countries", {}).get(code, {}).get("best_loss") for record in records
        )
        for code in countries
    }
    ends = {code: last_finite(curve) for code, curve in curves.items()}
    named = {
        code: (f"{prefix}{short(country_name(countries[code]))}  {format_loss(ends[code])}", style)
        for (code, prefix), style in zip(_choose(ends).items(), LINE_STYLES, strict=False)
    }
    naive = as_array(country["loss"].get("naive") for country in countries.values())
    right = 0.7 + 0.068 * max((len(text) for text, _ in named.values()), default=0)
    width = _LEFT + _PANEL + right
    with matplotlib.rc_context(drawing.RC):
        figure = Figure(figsize=(width, _HEIGHT))
        axes = figure.add_axes((_LEFT / width, 0.18, _PANEL / width, 0.63))
        for (code, curve), start in zip(curves.items(), naive, strict=True):
            color, dashes = named[code][1] if code in named else _GREY
            order = 4 if code in named else 3
            axes.plot(evaluations, curve, color=color, linestyle=dashes, zorder=order,
                      linewidth=1.9 if code in named else 0.9,
                      marker="o" if len(records) == 1 else None)  # fmt: skip
            axes.plot([0], [start], marker="s", markersize=4.5, markerfacecolor="none", color=color,
                      clip_on=False, zorder=order)  # fmt: skip
        drawing.frame_losses(axes, records, np.concatenate([naive, *curves.values()]))
        axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel("evaluations, of all countries together")
        axes.set_ylabel("best loss so far")
        to_axes = axes.transData + axes.transAxes.inverted()
        places = {code: float(to_axes.transform((0, ends[code]))[1]) for code in named}
        drawing.name_ends(
            axes,
            [drawing.End(text, places[code], *style) for code, (text, style) in named.items()],
            gap=_LINE,
        )
        drawing.add_texts(figure, title, notice, left=_LEFT / width)
        drawing.save(figure, stem)


def _choose(ends: dict[str, float]) -> dict[str, str]:
    """The countries to name, each with what its name is to begin with."""
    ranked = sorted((code for code in ends if math.isfinite(ends[code])), key=ends.__getitem__)
    if len(ends) <= FEW:
        return {code: "" for code in ends if code in ranked}
    places = {"lowest: ": 0, "middle: ": (len(ranked) - 1) // 2, "highest: ": -1}
    return {ranked[place]: prefix for prefix, place in places.items() if ranked}
