"""Best loss over evaluations: of one run with its references, and of all countries in one plot."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jaxalign.report.drawing import (
    BLUE,
    GREEN,
    LINE_STYLES,
    MUTED,
    NAIVE_DASHES,
    ORANGE,
    PALE,
    PINK,
    End,
    Sheet,
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

Records = Sequence[dict[str, Any]]  # lines of metrics.jsonl, in order


def plot_convergence(records: Records, losses: dict[str, float | None], sheet: Sheet) -> None:
    """Draw best loss and generation mean over evaluations, and the loss that prompts are chosen by.

    Args:
        records: lines of metrics.jsonl, in order; a null or non-finite loss leaves a gap.
        losses: reference losses by name, the `naive` one and another; None is left out.
        sheet: title, notice and path of the plot.
    """
    mean = as_array(record.get("generation_mean") for record in records)
    best = as_array(record["best_loss"] for record in records)
    curves = [("generation mean", mean, GREEN, 1.2), ("tuned, best so far", best, BLUE, 2.4)]
    chosen = as_array(record.get("chosen_loss") for record in records)
    if np.isfinite(chosen).any():
        curves.append(("chosen by, best so far", chosen, PINK, 1.6))
    with new_figure(sheet, _SIZE) as body:
        axes = body.subplots()
        shown, ends = [curve for _, curve, *_ in curves], []
        for name, curve, color, width in curves:
            _draw(axes, records, curve, color=color, linewidth=width, zorder=3)
            ends.append(End(name, last_finite(curve), color, "-", bold=color == BLUE))
        for name, loss in losses.items():
            if loss is not None and math.isfinite(loss):
                color, dashes = (ORANGE, (0, (5, 2))) if name == "naive" else (MUTED, NAIVE_DASHES)
                axes.axhline(loss, color=color, linewidth=1.3, linestyle=dashes, zorder=2)
                ends.append(End(name, loss, color, dashes, bold=False))
                shown.append(np.array([loss]))
        _finish(axes, records, shown, "evaluations", "loss")
        name_ends(body, {axes: [_with_loss(end) for end in ends if math.isfinite(end.value)]})


def plot_countries(records: Records, countries: dict[str, dict[str, Any]], sheet: Sheet) -> None:
    """Draw each country's best loss over evaluations.

    Up to FEW countries have a style of their own and are named at their ends. If there are more,
    all are grey except the lowest, the middle and the highest at the end. Squares at the left are
    naive losses.

    Args:
        records: lines of metrics.jsonl, in order; a null or non-finite loss leaves a gap.
        countries: code to `country_name` and `loss`, as in summary.json.
        sheet: title, notice and path of the plot.
    """
    curves = {
        code: as_array(
            record.get("countries", {}).get(code, {}).get("best_loss") for record in records
        )
        for code in countries
    }
    last = {code: last_finite(curve) for code, curve in curves.items()}
    chosen = _choose(last)
    styles = dict(zip(chosen, LINE_STYLES, strict=False))
    naive = as_array(country["loss"].get("naive") for country in countries.values())
    with new_figure(sheet, _SIZE) as body:
        axes = body.subplots()
        for (code, curve), start in zip(curves.items(), naive, strict=True):
            color, dashes = styles.get(code, (PALE, "-"))
            order, width = (4, 1.9) if code in styles else (3, 0.9)
            _draw(axes, records, curve, color=color, linestyle=dashes, linewidth=width,
                  zorder=order)  # fmt: skip
            axes.plot([0], [start], marker="s", markersize=4.5, markerfacecolor="none", color=color,
                      clip_on=False, zorder=order)  # fmt: skip
        label = "evaluations, of all countries together"
        _finish(axes, records, [naive, *curves.values()], label, "best loss so far")
        ends = [
            End(f"{prefix}{short(country_name(countries[code]))}", last[code], *styles[code])
            for code, prefix in chosen.items()
        ]
        name_ends(body, {axes: list(map(_with_loss, ends))})


def _draw(axes: Axes, records: Records, curve: np.ndarray, **style: Any) -> None:
    evaluations = [record["evaluations"] for record in records]
    axes.plot(evaluations, curve, marker="o" if len(records) == 1 else None, **style)


def _finish(
    axes: Axes, records: Records, shown: Sequence[np.ndarray], xlabel: str, ylabel: str
) -> None:
    scale_axis(axes, "y", np.concatenate(shown))
    set_evaluations_axis(axes, records)
    axes.set(xlabel=xlabel, ylabel=ylabel)


def _with_loss(end: End) -> End:
    return end._replace(text=f"{end.text}  {format_loss(end.value)}")


def _choose(last: dict[str, float]) -> dict[str, str]:
    """Return the countries to name, each with the words before its name."""
    ranked = sorted((code for code in last if math.isfinite(last[code])), key=last.__getitem__)
    if len(last) <= FEW:
        return {code: "" for code in last if code in ranked}
    ranks = {"lowest: ": 0, "middle: ": (len(ranked) - 1) // 2, "highest: ": -1}
    return {ranked[index]: prefix for prefix, index in ranks.items() if ranked}
