"""The Pareto front of a run with several objectives: drawn, and put into words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxalign.files import Front
from jaxalign.report import drawing
from jaxalign.report.drawing import BLUE, GREEN, GRID, INK, ORANGE, PALE
from jaxalign.report.numbers import format_loss

_UNITS = {  # what an objective counts
    "survey": "distance to the target",
    "naive_distance": "% of answers moved",
    "prompt_norm": "× a token's norm",
    "benchmark_nll": "nats",
    "benchmark_error": "% wrong",
}
_WIDTH, _LEFT, _RIGHT, _BETWEEN = 6.0, 0.72, 0.2, 0.5  # inches
_TOP, _PANEL, _BELOW, _BOTTOM = 0.85, 2.3, 0.75, 0.3
_LETTERS = (11.0, 8.0)  # points that a number takes, right and up
_ROOM = (19.0, 14.0)  # the same with the gap to its dot and half of another dot


def plot_front(
    front: Front, terms: dict[str, Any], title: str, notice: str | None, stem: Path
) -> None:
    """Draws the first objective against each of the others into stem.png and stem.svg.

    The survey's distance counts as the first wherever it is one of the objectives.

    Args:
        front: of `read_front`, at least one prompt.
        terms: objectives by name of the `naive` model and of the `best` prompt, to be marked too
            where they are known; as in summary.json.
        title: stands above the plot.
        notice: stands below it, None for nothing.
        stem: the path without a suffix.
    """
    first, *others = _in_order(front.names)
    columns = min(2, len(others))
    rows = -(-len(others) // columns)
    height = _TOP + rows * (_PANEL + _BELOW) + _BOTTOM
    wide = (_WIDTH - _LEFT - _RIGHT - (columns - 1) * _BETWEEN) / columns
    with matplotlib.rc_context(drawing.RC):
        figure = Figure(figsize=(_WIDTH, height))
        for index, other in enumerate(others):
            row, column = divmod(index, columns)
            left = _LEFT + column * (wide + _BETWEEN)
            low = height - _TOP - row * (_PANEL + _BELOW) - _PANEL
            axes = figure.add_axes((left / _WIDTH, low / height, wide / _WIDTH, _PANEL / height))
            _draw(axes, front, terms, other, first)
            if column == 0:
                axes.set_ylabel(_label(first).replace("\n", " "))
        figure.legend(
            *figure.axes[0].get_legend_handles_labels(),
            loc="center left",
            bbox_to_anchor=(_LEFT / _WIDTH, 1 - 0.55 / height),
            ncols=3,
            frameon=False,
            fontsize=9,
            borderpad=0,
            borderaxespad=0,
            handletextpad=0.5,
        )
        drawing.add_texts(figure, title, notice, left=_LEFT / _WIDTH)
        drawing.save(figure, stem)


def explain_front(front: Front) -> str:
    """What the front shows: how many prompts, and what the ends of the trade cost."""
    if not front.values:
        return "No prompt was finite on all objectives, so none stands on their front."
    first, *others = _in_order(front.names)
    if len(front.values) == 1:
        return "One prompt is the best seen on all objectives at once: here nothing is traded."
    rows = [dict(zip(front.names, values, strict=True)) for values in front.values]
    lowest = min(rows, key=lambda row: row[first])
    costs = " and ".join(f"{other} {format_loss(lowest[other])}" for other in others)
    saved = []
    for other in others:
        least = min(rows, key=lambda row: row[other])
        left = f"leaves {first} at {format_loss(least[first])}"
        saved.append(f"the lowest {other}, {format_loss(least[other])}, {left}")
    return (
        f"{len(rows)} prompts that nothing seen beats on all objectives, numbered as in "
        "pareto.csv; lower and further left is better. What one gains another pays: "
        f"the lowest {first}, {format_loss(lowest[first])}, costs {costs}; "
        f"{'; '.join(saved)}. The tuned prompt has the lowest weighted sum."
    )


def _in_order(names: Sequence[str]) -> list[str]:
    return sorted(names, key=lambda name: name != "survey")


def _label(name: str) -> str:
    return f"{name}\n({_UNITS[name]})" if name in _UNITS else name


def _draw(axes: Axes, front: Front, terms: dict[str, Any], across: str, up: str) -> None:
    """Draws the front's prompts by two of their objectives, with the naive and the tuned point."""
    table_KO = np.array(front.values)
    points_K2 = table_KO[:, [front.names.index(across), front.names.index(up)]]
    if len(front.names) == 2:  # with more, one that is behind here is ahead elsewhere
        stairs = points_K2[np.argsort(points_K2[:, 0])]
        axes.plot(*stairs.T, drawstyle="steps-post", color=PALE, linewidth=1, zorder=2)
    marks: dict[str, Any] = {"linestyle": "none", "clip_on": False}
    axes.plot(*points_K2.T, marker="o", color=GREEN, markersize=5, zorder=3, label="front", **marks)
    shown = [points_K2]
    for key, label, color, marker, size in (
        ("best", "tuned", BLUE, "o", 11),
        ("naive", "naive", ORANGE, "s", 6),
    ):
        place = drawing.as_array((terms.get(key) or {}).get(name) for name in (across, up))
        if np.isfinite(place).all():
            axes.plot(*place[:, None], label=label, marker=marker, markersize=size, color=color,
                      markerfacecolor="none", markeredgewidth=1.8, zorder=4, **marks)  # fmt: skip
            shown.append(place[None])
    low_2, high_2 = (end(np.concatenate(shown), axis=0) for end in (np.min, np.max))
    axes.set_xlim(min(0.0, low_2[0]), max(1.08 * high_2[0], 1e-9))
    axes.set_ylim(min(0.0, low_2[1]), max(1.08 * high_2[1], 1e-9))
    _number(axes, points_K2)
    axes.set_xlabel(_label(across))
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _number(axes: Axes, points_K2: np.ndarray) -> None:
    """Numbers the points right above them, but for those whose number would be illegible."""
    places_K2 = axes.transData.transform(points_K2) * 72 / axes.figure.dpi
    taken: list[np.ndarray] = []
    for number, (point, place) in enumerate(zip(points_K2, places_K2, strict=True)):
        away_K2 = np.delete(places_K2, number, axis=0) - place
        hidden = ((away_K2 > (-2, -2)) & (away_K2 < _ROOM)).all(axis=1).any()
        crossed = any((np.abs(place - other) < _LETTERS).all() for other in taken)
        if not hidden and not crossed:
            taken.append(place)
            axes.annotate(str(number), point, (6, 4), textcoords="offset points", fontsize=8,
                          color=INK)  # fmt: skip
