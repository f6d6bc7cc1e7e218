"""The plot of samples of n simulated respondents: loss, and sampling error."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np

from jaxalign.report.drawing import METHOD_STYLES, NAIVE_DASHES, Sheet, as_array, new_figure
from jaxalign.report.evidence.record import SampleSize

_DASHES: dict[str, Any] = {"naive": (0, (5, 2)), "tuned": "-"}


def plot_respondents(rows: Sequence[SampleSize], sheet: Sheet) -> None:
    """Draw loss, and sampling error with that of the formula, over the number of respondents.

    Args:
        rows: at least one.
        sheet: title, notice and path of the plot.
    """
    methods = list(dict.fromkeys(row.method for row in rows))
    sizes = sorted({row.n for row in rows})
    with new_figure(sheet, (8.2, 3.8)) as body:
        left, right = body.subplots(1, 2)
        for index, method in enumerate(methods):
            of_method = sorted((row for row in rows if row.method == method), key=lambda row: row.n)
            style = METHOD_STYLES.get(method, METHOD_STYLES["control"])
            dashes = _DASHES.get(method, NAIVE_DASHES)
            shift = 1 + 0.08 * (index - (len(methods) - 1) / 2)  # so that ranges stay apart
            sizes_of_method = [row.n * shift for row in of_method]
            loss, low, high = (
                as_array(getattr(row, name) for row in of_method)
                for name in ("loss", "low", "high")
            )
            left.vlines(sizes_of_method, low, high, color=style["color"], linewidth=2.5, alpha=0.45)
            left.plot(sizes_of_method, loss, linestyle=dashes, linewidth=1.3, label=method, **style)
            sampled, formula = (
                as_array(_mean(row, name) for row in of_method)
                for name in ("sampling_sd", "formula_sd")
            )
            right.plot(sizes_of_method, sampled, linestyle="none", markersize=7, **style)
            right.plot(
                sizes_of_method, formula, color=style["color"], linestyle=dashes, linewidth=1.3
            )
        for axes, label in ((left, "loss"), (right, "standard deviation of a score")):
            axes.set(xscale="log", xlim=(sizes[0] / 1.5, sizes[-1] * 1.5))
            axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
            axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
            axes.set_ylim(bottom=0)
            axes.set(xlabel="respondents", ylabel=label)
            axes.grid(axis="y")
        body.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=len(methods),
                    handlelength=3)  # fmt: skip


def _mean(row: SampleSize, name: str) -> float | None:
    values = [getattr(score, name) for score in row.dimensions.values()]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
