"""The two plots of a report: convergence, and a radar of the dimensions."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxalign.report import drawing
from jaxalign.report.drawing import (
    BLUE,
    GREEN,
    GRID,
    GROUND,
    INK,
    MUTED,
    ORANGE,
    PALE,
    PINK,
    as_array,
    last_finite,
)
from jaxalign.report.numbers import format_loss

_ENDS = (0.0, 100.0)  # of the scale that VSM13's scores are read on
_NICE = (1, 2, 2.5, 5, 10)  # steps between rings, times a power of ten

# What a label is drawn in: colour, dashes, marker. Others take what is left, in order.
LABEL_STYLES: dict[str, dict[str, Any]] = {
    # Wide and pale under the others, so that it still shows where the tuned scores meet it.
    "target": {"color": PALE, "linestyle": "-", "marker": "D", "linewidth": 6, "markersize": 10},
    "naive": {"color": ORANGE, "linestyle": (0, (5, 2)), "marker": "s", "linewidth": 1.4},
    "tuned": {"color": BLUE, "linestyle": "-", "marker": "o", "linewidth": 2.2},
}
OTHER_STYLES: tuple[dict[str, Any], ...] = (
    {"color": GREEN, "linestyle": (0, (6, 1.5, 1.5, 1.5)), "marker": "^", "linewidth": 1.4},
    {"color": PINK, "linestyle": (0, (3, 1)), "marker": "v", "linewidth": 1.4},
    {"color": MUTED, "linestyle": (0, (8, 3)), "marker": "P", "linewidth": 1.4},
)


def plot_convergence(
    records: Sequence[dict[str, Any]],
    losses: dict[str, float | None],
    title: str,
    notice: str | None,
    stem: Path,
) -> None:
    """Draws best loss and generation mean over evaluations into stem.png and stem.svg.

    The loss axis is logarithmic when what it shows spans more than a factor of ten.

    Args:
        records: lines of metrics.jsonl, in order; a null or non-finite loss leaves a gap.
        losses: reference losses by name, the `naive` one and another; None is left out.
        title: stands above the plot.
        notice: stands below it, None for nothing.
        stem: the path without a suffix.
    """
    evaluations = np.array([record["evaluations"] for record in records], float)
    best = as_array(record["best_loss"] for record in records)
    mean = as_array(record.get("generation_mean") for record in records)
    references = {
        label: value
        for label, value in losses.items()
        if value is not None and math.isfinite(value)
    }
    with matplotlib.rc_context(drawing.RC):
        figure = Figure(figsize=(7.2, 4.3))
        axes = figure.add_axes((0.09, 0.18, 0.68, 0.63))
        markers = "o" if len(records) == 1 else None
        for values, color, width in ((mean, GREEN, 1.2), (best, BLUE, 2.4)):
            axes.plot(evaluations, values, color=color, linewidth=width, marker=markers, zorder=3)
        for label, value in references.items():
            color = ORANGE if label == "naive" else MUTED
            dashes = LABEL_STYLES["naive"]["linestyle"] if label == "naive" else (0, (2, 2))
            axes.axhline(value, color=color, linewidth=1.3, linestyle=dashes, zorder=2)

        shown = np.concatenate([best, mean, list(references.values())])
        drawing.frame_losses(axes, records, shown)
        ends = [
            ("tuned, best so far", last_finite(best), BLUE),
            ("generation mean", last_finite(mean), GREEN),
        ]
        ends += [(label, references[label], ORANGE if label == "naive" else MUTED)
                 for label in references]  # fmt: skip
        _label_ends(axes, [end for end in ends if math.isfinite(end[1])])
        drawing.add_texts(figure, title, notice, left=0.09)
        drawing.save(figure, stem)


def plot_radar(
    scores: dict[str, dict[str, float | None]],
    title: str,
    notice: str | None,
    stem: Path,
    ends: tuple[float, float] | None = _ENDS,
) -> None:
    """Draws one polygon per label over the dimensions into stem.png and stem.svg.

    Scores may leave the scale: the radial range then grows, and nothing is clipped. Fewer than
    three dimensions make no polygon and are drawn as dots on lines.

    Args:
        scores: label (`target`, `naive`, `tuned`, …) to dimension to score. The first label gives
            the dimensions; a missing score leaves a gap.
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
    others = iter(OTHER_STYLES * len(scores))
    styles = {label: LABEL_STYLES.get(label) or next(others) for label in scores}
    with matplotlib.rc_context(drawing.RC):
        if len(dimensions) < 3:
            figure = Figure(figsize=(7.2, 2.2 + 0.5 * len(dimensions)))
            axes = figure.add_axes((0.12, 0.3, 0.68, 0.46))
            _draw_lines(axes, dimensions, values, styles, ends)
            left = 0.12
        else:
            figure = Figure(figsize=(6.4, 5.2))
            axes = figure.add_axes((0.04, 0.06, 0.78, 0.86))
            _draw_polygons(axes, dimensions, values, styles, ends)
            left = 0.05
        figure.legend(
            *axes.get_legend_handles_labels(),
            loc="upper right",
            bbox_to_anchor=(0.985, 0.87 if len(scores) <= 3 else 0.93),
            frameon=False,
            handlelength=3.2,
        )
        drawing.add_texts(figure, title, notice, left=left)
        drawing.save(figure, stem)


def radial_range(
    values: np.ndarray, ends: tuple[float, float] | None = _ENDS
) -> tuple[float, float, float]:
    """Returns the range of the radius and the step between rings.

    The range is that of the scale, grown by whole rings to hold every value; without a scale, the
    least number of round steps that does, at most six.
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
    step = power * next(nice for nice in _NICE if nice * power >= wanted * (1 - 1e-9))
    low, high = step * math.floor(lowest / step), step * math.ceil(highest / step)
    return low, max(high, low + step), step


def _draw_polygons(
    axes: Axes,
    dimensions: Sequence[str],
    values: dict[str, np.ndarray],
    styles: dict[str, dict[str, Any]],
    ends: tuple[float, float] | None,
) -> None:
    """Draws the web and the polygons in plain coordinates: the web's rings are polygons too."""
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
        style = styles[label]
        corners = points(np.append(of_label, of_label[0]))
        order = {"target": 2.5, "tuned": 4}.get(label, 3)
        axes.plot(*corners.T, label=label, **{"markersize": 5, "zorder": order} | style)
        if label == "tuned" and np.isfinite(corners).all():
            axes.fill(*corners.T, color=style["color"], alpha=0.1, linewidth=0, zorder=2)

    halo = {"boxstyle": "round,pad=0.15", "facecolor": GROUND, "edgecolor": "none", "alpha": 0.85}
    few = rings if ends is None else {low, ends[0], sum(ends) / 2, ends[1], high}
    labelled = np.array(sorted(few))
    edge = _clearest_edge(list(values.values()), labelled, low)
    middle = (directions[edge] + directions[edge + 1]) / 2
    for ring in labelled:
        x, y = middle * ((ring - low) / (high - low))
        text = f"{ring:.6g}".replace("-", "\N{MINUS SIGN}")
        axes.text(x, y, text, fontsize=8, ha="center", va="center", zorder=2.8, bbox=halo,
                  color=INK if ring in marked else MUTED)  # fmt: skip
    for name, (x, y) in zip(dimensions, directions[:-1], strict=True):
        side = "center" if abs(x) < 0.1 else "left" if x > 0 else "right"
        axes.text(1.06 * x, 1.06 * y, name, ha=side, va="center", weight="bold",
                  fontsize=11 if len(name) <= 5 else 9)  # fmt: skip
    axes.set_xlim(-1.25, 1.25)
    axes.set_ylim(-1.12, 1.12)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _clearest_edge(values: list[np.ndarray], rings: np.ndarray, low: float) -> int:
    """Returns the edge of the web whose middle the polygons cross farthest from the labels."""
    radii = np.stack(values) - low
    ends = np.stack([radii, np.roll(radii, -1, axis=1)])
    crossings = 2 * ends[0] * ends[1] / np.maximum(ends[0] + ends[1], 1e-9)
    gaps = np.abs(crossings[:, :, None] - (rings - low)[rings > low])
    return int(np.argmax(np.nan_to_num(gaps, nan=np.inf).min(axis=(0, 2))))


def _draw_lines(
    axes: Axes,
    dimensions: Sequence[str],
    values: dict[str, np.ndarray],
    styles: dict[str, dict[str, Any]],
    ends: tuple[float, float] | None,
) -> None:
    rows = np.arange(len(dimensions))[::-1]
    for label, of_label in values.items():
        style = styles[label] | {"linestyle": "none"}
        size = style.get("markersize", 7) + 1
        axes.plot(of_label, rows, label=label, **style | {"markersize": size, "zorder": 3})
    low, high, _ = radial_range(np.concatenate(list(values.values())), ends)
    margin = 0.03 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(-0.6, len(dimensions) - 0.4)
    axes.set_yticks(rows, dimensions, weight="bold")
    for edge in ends or (0,) * (low <= 0 <= high):
        axes.axvline(edge, color=MUTED, linewidth=1.1, zorder=1)
    axes.grid(axis="both", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("score")
    axes.spines[:].set_visible(False)


def _label_ends(axes: Axes, ends: list[tuple[str, float, str]]) -> None:
    """Writes each line's name and value right of the plot, pushed apart so that none overlap."""
    gap = 0.115  # two lines of text, as a share of the axis's height
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = sorted(ends, key=lambda end: end[1])
    wanted = [float(to_axes.transform((0, value))[1]) for _, value, _ in ends]
    for place, (label, value, color) in zip(_spread(wanted, gap), ends, strict=True):
        axes.text(1.025, place, f"{label}\n{format_loss(value)}", transform=axes.transAxes,
                  color=color, fontsize=9, va="center", linespacing=1.15,
                  weight="bold" if label.startswith("tuned") else "normal")  # fmt: skip


def _spread(places: list[float], gap: float) -> list[float]:
    """Moves ascending places as little as a sweep up and a sweep down need, to be a gap apart."""
    places = list(places)
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + gap)
    limit = 1.0
    for index in reversed(range(len(places))):
        places[index] = min(places[index], limit)
        limit = places[index] - gap
    return places
