"""A radar of the scores by dimension; dots on lines if there are fewer than three dimensions."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from jaxalign.report.drawing import (
    BLUE,
    GREEN,
    GRID,
    GROUND,
    INK,
    MUTED,
    ORANGE,
    PALE,
    Sheet,
    as_array,
    new_figure,
)

VSM13_RANGE = (0.0, 100.0)  # the scale that VSM13's scores are read on

_STYLES: dict[str, dict[str, Any]] = {
    # Wide and pale under the others, so that it still shows where the tuned scores meet it.
    "target": {"color": PALE, "linestyle": "-", "marker": "D", "linewidth": 6, "markersize": 10,
               "zorder": 2.5},
    "naive": {"color": ORANGE, "linestyle": (0, (5, 2)), "marker": "s", "linewidth": 1.4},
    "persona": {"color": GREEN, "linestyle": (0, (6, 1.5, 1.5, 1.5)), "marker": "^",
                "linewidth": 1.4},
    "tuned": {"color": BLUE, "linestyle": "-", "marker": "o", "linewidth": 2.2, "zorder": 4},
}  # fmt: skip

Range = tuple[float, float]


def plot_radar(
    scores: dict[str, dict[str, float | None]], sheet: Sheet, ends: Range | None = VSM13_RANGE
) -> None:
    """Draw scores over the dimensions.

    Scores may leave the scale: the radial range then grows, and nothing is clipped.

    Args:
        scores: `target`, `naive`, `persona` or `tuned` to dimension to score. The first gives the
            dimensions; a missing score leaves a gap.
        sheet: title, notice and path of the plot.
        ends: of the scale that scores are read on; None for one that fits what is drawn.
    """
    dimensions = list(next(iter(scores.values())))
    values = {
        label: as_array(of_label.get(name) for name in dimensions)
        for label, of_label in scores.items()
    }
    rings = rings_of(np.concatenate(list(values.values())), ends)
    marked = (0.0,) if ends is None else ends
    few = len(dimensions) < 3
    size = (7.2, 2.4 + 0.5 * len(dimensions)) if few else (6.4, 5.2)
    with new_figure(sheet, size) as body:
        if few:
            axes = body.subplots()
            _draw_lines(axes, dimensions, values, rings, marked)
        else:
            axes = body.subplots(subplot_kw={"projection": "polar"})
            _draw_polygons(axes, dimensions, values, rings, marked)
        body.legend(*axes.get_legend_handles_labels(), loc="outside right upper", handlelength=3.2)


def rings_of(values: np.ndarray, ends: Range | None = VSM13_RANGE) -> np.ndarray:
    """Return the scores of the rings, ascending.

    They divide the scale in four, and continue until they hold every value, in wider steps if
    there were many; without a scale, they are at most seven round numbers.
    """
    finite = values[np.isfinite(values)]
    if ends is None:
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
        room = max(5e-3 * max(abs(low), abs(high)), 1e-8) - (high - low)
        if room > 0:  # equal scores need a range too
            low, high = low - room / 2, high + room / 2
        ticks = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        return np.asarray(ticks)
    step = (ends[1] - ends[0]) / 4
    reached = (np.append(finite, ends) - ends[0]) / step
    first, last = math.floor(reached.min()), math.ceil(reached.max())
    wide = 1 if last - first <= 8 else 4
    inner = np.arange(wide * math.ceil(first / wide), last + 1, wide)
    return ends[0] + step * np.union1d(inner, (first, last))


def _draw_polygons(
    axes: Any,
    dimensions: Sequence[str],
    values: dict[str, np.ndarray],
    rings: np.ndarray,
    marked: Sequence[float],
) -> None:
    angles = 2 * np.pi * np.arange(len(dimensions) + 1) / len(dimensions)
    for label, scores in values.items():
        style = {"markersize": 5, "zorder": 3} | _STYLES[label]
        axes.plot(angles, np.append(scores, scores[0]), label=label, clip_on=False, **style)
        if label == "tuned" and np.isfinite(scores).all():
            axes.fill(angles[:-1], scores, color=BLUE, alpha=0.1, linewidth=0, zorder=2)
    axes.set(theta_direction=-1, theta_zero_location="N", ylim=(rings[0], rings[-1]))
    labelled = np.union1d(rings[::2], [*marked, rings[-1]])
    radii = np.stack(list(values.values())) - rings[0]
    after = np.roll(radii, -1, axis=1)
    middle = 2 * radii * after / np.maximum(radii + after, 1e-9) * np.cos(angles[1] / 2)
    gaps = np.abs(middle[:, :, None] - (labelled[1:] - rings[0]))
    gaps = np.nan_to_num(gaps, nan=np.inf).min(axis=(0, 2))
    # Label the rings in the middle between two dimensions, where the polygons are farthest away.
    clearest = angles[np.argmax(gaps)] + angles[1] / 2
    halo = {"boxstyle": "round,pad=0.15", "facecolor": GROUND, "edgecolor": "none", "alpha": 0.85}
    for ring in labelled:
        text = f"{ring:.6g}".replace("-", "\N{MINUS SIGN}")
        axes.text(clearest, ring, text, fontsize=8, ha="center", va="center", zorder=2.8, bbox=halo,
                  color=INK if ring in marked else MUTED)  # fmt: skip
    axes.set_yticks(rings, [])
    axes.set_xticks(angles[:-1], dimensions, weight="bold",
                    fontsize=11 if max(map(len, dimensions)) <= 5 else 9)  # fmt: skip
    axes.grid(axis="both", color=GRID, linewidth=0.7)
    for ring in np.intersect1d(marked, rings):
        around = np.linspace(0, 2 * np.pi, 181)
        axes.plot(around, np.full(181, ring), color=MUTED, linewidth=1.1, zorder=1,
                  clip_on=False)  # fmt: skip
    axes.spines["polar"].set_visible(False)


def _draw_lines(
    axes: Any,
    dimensions: Sequence[str],
    values: dict[str, np.ndarray],
    rings: np.ndarray,
    marked: Sequence[float],
) -> None:
    rows = np.arange(len(dimensions))[::-1]
    for label, scores in values.items():
        style = {"markersize": 7, "zorder": 3} | _STYLES[label] | {"linestyle": "none"}
        axes.plot(scores, rows, label=label, **style)
    margin = 0.03 * (rings[-1] - rings[0])
    axes.set(xlim=(rings[0] - margin, rings[-1] + margin), ylim=(-0.6, len(dimensions) - 0.4))
    axes.set_xlabel("score")
    axes.set_yticks(rows, dimensions, weight="bold")
    for edge in marked:
        if rings[0] <= edge <= rings[-1]:
            axes.axvline(edge, color=MUTED, linewidth=1.1, zorder=1)
    axes.grid(axis="both")
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
