"""A radar of the scores by dimension; dots on lines if there are fewer than three dimensions."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jaxalign.report.drawing import (
    BLUE,
    GREEN,
    GRID,
    GROUND,
    INK,
    MUTED,
    ORANGE,
    PALE,
    as_array,
    new_figure,
)

VSM13_RANGE = (0.0, 100.0)  # the scale that VSM13's scores are read on
_ROUND = (1, 2, 2.5, 5, 10)  # steps between rings, times a power of ten

_STYLES: dict[str, dict[str, Any]] = {
    # Wide and pale under the others, so that it still shows where the tuned scores meet it.
    "target": {"color": PALE, "linestyle": "-", "marker": "D", "linewidth": 6, "markersize": 10,
               "zorder": 2.5},
    "naive": {"color": ORANGE, "linestyle": (0, (5, 2)), "marker": "s", "linewidth": 1.4},
    "persona": {"color": GREEN, "linestyle": (0, (6, 1.5, 1.5, 1.5)), "marker": "^",
                "linewidth": 1.4},
    "tuned": {"color": BLUE, "linestyle": "-", "marker": "o", "linewidth": 2.2, "zorder": 4},
}  # fmt: skip
_DEFAULTS = {"markersize": 5, "zorder": 3}

Range = tuple[float, float]


def plot_radar(
    scores: dict[str, dict[str, float | None]],
    title: str,
    notice: str | None,
    stem: Path,
    ends: Range | None = VSM13_RANGE,
) -> None:
    """Draw scores over the dimensions into stem.png and stem.svg.

    Scores may leave the scale: the radial range then grows, and nothing is clipped.

    Args:
        scores: `target`, `naive`, `persona` or `tuned` to dimension to score. The first gives the
            dimensions; a missing score leaves a gap.
        title: stands above the plot.
        notice: stands below it, None for nothing.
        stem: the path without a suffix.
        ends: of the scale that scores are read on; None for one that fits what is drawn.
    """
    dimensions = list(next(iter(scores.values())))
    values = {
        label: as_array(of_label.get(name) for name in dimensions)
        for label, of_label in scores.items()
    }
    few = len(dimensions) < 3
    size = (7.2, 2.2 + 0.5 * len(dimensions)) if few else (6.4, 5.2)
    with new_figure(stem, title, notice, size) as body:
        axes = body.subplots()
        if few:
            _draw_lines(axes, dimensions, values, ends)
        else:
            _draw_polygons(axes, dimensions, values, ends)
        body.legend(*axes.get_legend_handles_labels(), loc="outside right upper", handlelength=3.2)


def radial_range(
    values: np.ndarray, ends: Range | None = VSM13_RANGE
) -> tuple[float, float, float]:
    """Return the lowest and highest radius and the step between rings.

    The range is that of the scale, grown by whole rings to hold every value; without a scale, it
    has the least number of round steps that does, at most six.
    """
    finite = values[np.isfinite(values)]
    if ends is not None:
        step = (ends[1] - ends[0]) / 4
        reached = np.append(finite, ends)
        low = ends[0] + step * math.floor((reached.min() - ends[0]) / step)
        high = ends[0] + step * math.ceil((reached.max() - ends[0]) / step)
        return low, high, step * (1 if high - low <= 8 * step else 4)
    lowest, highest = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    wanted = max((highest - lowest) / 5, abs(highest) * 1e-3, 1e-9)
    power = 10.0 ** math.floor(math.log10(wanted))
    step = power * next(nice for nice in _ROUND if nice * power >= wanted * (1 - 1e-9))
    low, high = step * math.floor(lowest / step), step * math.ceil(highest / step)
    return low, max(high, low + step), step


def _draw_polygons(
    axes: Axes, dimensions: Sequence[str], values: dict[str, np.ndarray], ends: Range | None
) -> None:
    """Draw the web and the polygons in plain coordinates: the web's rings are polygons too."""
    low, high, step = radial_range(np.concatenate(list(values.values())), ends)
    angles = np.pi / 2 - 2 * np.pi * np.arange(len(dimensions) + 1) / len(dimensions)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def points(radius: np.ndarray | float) -> np.ndarray:
        return directions * ((np.asarray(radius) - low) / (high - low))[..., None]

    marked = (0.0,) if ends is None else ends
    # Rounded, so that the ring at 3 × 0.1 is the one at 0.3.
    first, last = math.ceil((low - marked[0]) / step), math.floor((high - marked[0]) / step)
    inner = (marked[0] + step * np.arange(first, last + 1)).round(9)
    rings = {round(low, 9), *map(float, inner), round(high, 9)}
    for ring in rings:
        color, width = (MUTED, 1.1) if ring in marked else (GRID, 0.7)
        axes.plot(*points(ring).T, color=color, linewidth=width, zorder=1)
    for direction in directions[:-1]:
        axes.plot([0, direction[0]], [0, direction[1]], color=GRID, linewidth=0.7, zorder=1)

    for label, of_label in values.items():
        corners = points(np.append(of_label, of_label[0]))
        axes.plot(*corners.T, label=label, **_DEFAULTS | _STYLES[label])
        if label == "tuned" and np.isfinite(corners).all():
            axes.fill(*corners.T, color=BLUE, alpha=0.1, linewidth=0, zorder=2)

    halo = {"boxstyle": "round,pad=0.15", "facecolor": GROUND, "edgecolor": "none", "alpha": 0.85}
    labelled = rings if ends is None else {low, ends[0], sum(ends) / 2, ends[1], high}
    edge = _clearest_edge(list(values.values()), np.array(sorted(labelled)), low)
    middle = (directions[edge] + directions[edge + 1]) / 2
    for ring in sorted(labelled):
        x, y = middle * ((ring - low) / (high - low))
        text = f"{ring:.6g}".replace("-", "\N{MINUS SIGN}")
        axes.text(x, y, text, fontsize=8, ha="center", va="center", zorder=2.8, bbox=halo,
                  color=INK if ring in marked else MUTED)  # fmt: skip
    for name, (x, y) in zip(dimensions, directions[:-1], strict=True):
        side = "center" if abs(x) < 0.1 else "left" if x > 0 else "right"
        axes.text(1.06 * x, 1.06 * y, name, ha=side, va="center", weight="bold",
                  fontsize=11 if len(name) <= 5 else 9)  # fmt: skip
    axes.set(xlim=(-1.1, 1.1), ylim=(-1.12, 1.12), aspect="equal")
    axes.set_axis_off()


def _clearest_edge(values: list[np.ndarray], rings: np.ndarray, low: float) -> int:
    """Return the edge of the web on whose middle the polygons are farthest from the labels."""
    radii = np.stack(values) - low
    ends = np.stack([radii, np.roll(radii, -1, axis=1)])
    crossings = 2 * ends[0] * ends[1] / np.maximum(ends[0] + ends[1], 1e-9)
    gaps = np.abs(crossings[:, :, None] - (rings - low)[rings > low])
    return int(np.argmax(np.nan_to_num(gaps, nan=np.inf).min(axis=(0, 2))))


def _draw_lines(
    axes: Axes, dimensions: Sequence[str], values: dict[str, np.ndarray], ends: Range | None
) -> None:
    rows = np.arange(len(dimensions))[::-1]
    for label, of_label in values.items():
        style = {"markersize": 7, "zorder": 3} | _STYLES[label] | {"linestyle": "none"}
        axes.plot(of_label, rows, label=label, **style)
    low, high, _ = radial_range(np.concatenate(list(values.values())), ends)
    margin = 0.03 * (high - low)
    axes.set(xlim=(low - margin, high + margin), ylim=(-0.6, len(dimensions) - 0.4))
    axes.set_xlabel("score")
    axes.set_yticks(rows, dimensions, weight="bold")
    for edge in ends or (0,) * (low <= 0 <= high):
        axes.axvline(edge, color=MUTED, linewidth=1.1, zorder=1)
    axes.grid(axis="both")
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
