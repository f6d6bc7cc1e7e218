"""Best loss over evaluations: of one run with its references, and of all countries in one plot."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxalign.report.drawing import (
    BLUE,
    GREEN,
    LINE_STYLES,
    MUTED,
    NAIVE_DASHES,
    ORANGE,
    PALE,
    End,
    as_array,
    last_finite,
    name_ends,
    new_figure,
    scale_axis,
    set_evaluations_axis,
    short,
)
from jaxalign.report.numbers import country_name, format_loss

FEW = len(LINE_STYLES)  # as many countries have a style of their own
_SIZE = (7.2, 4.3)


def plot_convergence(
    records: Sequence[dict[str, Any]],
    losses: dict[str, float | None],
    title: str,
    notice: str | None,
    stem: Path,
) -> None:
    """Draw best loss and generation mean over evaluations into stem.png and stem.svg.

    Args:
        records: lines of metrics.jsonl, in order; a null or non-finite loss leaves a gap.
        losses: reference losses by name, the `naive` one and another; None is left out.
        title: stands above the plot.
        notice: stands below it, None for nothing.
        stem: the path without a suffix.
    """
    evaluations = [record["evaluations"] for record in records]
    curves = {
        "generation mean": as_array(record.get("generation_mean") for record in records),
        "tuned, best so far": as_array(record["best_loss"] for record in records),
    }
    references = {
        name: loss for name, loss in losses.items() if loss is not None and math.isfinite(loss)
    }
    with new_figure(stem, title, notice, _SIZE) as body:
        axes = body.subplots()
        ends = []
        for (name, curve), color, width in zip(
            curves.items(), (GREEN, BLUE), (1.2, 2.4), strict=True
        ):
            axes.plot(evaluations, curve, color=color, linewidth=width, zorder=3,
                      marker="o" if len(records) == 1 else None)  # fmt: skip
            ends.append(End(name, last_finite(curve), color, "-", bold=color == BLUE))
        for name, loss in references.items():
            color, dashes = (ORANGE, (0, (5, 2))) if name == "naive" else (MUTED, NAIVE_DASHES)
            axes.axhline(loss, color=color, linewidth=1.3, linestyle=dashes, zorder=2)
            ends.append(End(name, loss, color, dashes, bold=False))
        scale_axis(axes, "y", np.concatenate([*curves.values(), list(references.values())]))
        set_evaluations_axis(axes, records)
        axes.set_xlabel("evaluations")
        axes.set_ylabel("loss")
        named = [
            end._replace(text=f"{end.text}  {format_loss(end.value)}")
            for end in ends
            if math.isfinite(end.value)
        ]
        name_ends(body, {axes: named})


def plot_countries(
    records: Sequence[dict[str, Any]],
    countries: dict[str, dict[str, Any]],
    title: str,
    notice: str | None,
    stem: Path,
) -> None:
    """Draw each country's best loss over evaluations into stem.png and stem.svg.

    Up to FEW countries have a style of their own and are named at their ends. If there are more,
    all are grey except the lowest, the middle and the highest at the end. Squares at the left are
    naive losses.

    Args:
        records: lines of metrics.jsonl, in order; a null or non-finite loss leaves a gap.
        countries: code to `country_name` and `loss`, as in summary.json.
        title: stands above the plot.
        notice: stands below it, None for nothing.
        stem: the path without a suffix.
    """
    evaluations = [record["evaluations"] for record in records]
    curves = {
        code: as_array(
            record.get("countries", {}).get(code, {}).get("best_loss") for record in records
        )
        for code in countries
    }
    last = {code: last_finite(curve) for code, curve in curves.items()}
    styles = dict(zip(_choose(last), LINE_STYLES, strict=False))
    naive = as_array(country["loss"].get("naive") for country in countries.values())
    with new_figure(stem, title, notice, _SIZE) as body:
        axes = body.subplots()
        for (code, curve), start in zip(curves.items(), naive, strict=True):
            color, dashes = styles.get(code, (PALE, "-"))
            order, width = (4, 1.9) if code in styles else (3, 0.9)
            axes.plot(evaluations, curve, color=color, linestyle=dashes, zorder=order,
                      linewidth=width, marker="o" if len(records) == 1 else None)  # fmt: skip
            axes.plot([0], [start], marker="s", markersize=4.5, markerfacecolor="none", color=color,
                      clip_on=False, zorder=order)  # fmt: skip
        scale_axis(axes, "y", np.concatenate([naive, *curves.values()]))
        set_evaluations_axis(axes, records)
        axes.set_xlabel("evaluations, of all countries together")
        axes.set_ylabel("best loss so far")
        ends = [
            End(f"{prefix}{short(country_name(countries[code]))}  {format_loss(last[code])}",
                last[code], *styles[code])
            for code, prefix in _choose(last).items()
        ]  # fmt: skip
        name_ends(body, {axes: ends})


def _choose(last: dict[str, float]) -> dict[str, str]:
    """Return the countries to name, each with the words before its name."""
    ranked = sorted((code for code in last if math.isfinite(last[code])), key=last.__getitem__)
    if len(last) <= FEW:
        return {code: "" for code in last if code in ranked}
    places = {"lowest: ": 0, "middle: ": (len(ranked) - 1) // 2, "highest: ": -1}
    return {ranked[place]: prefix for prefix, place in places.items() if ranked}
