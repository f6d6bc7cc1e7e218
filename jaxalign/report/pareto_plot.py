"""The plot of the Pareto front of a run with several objectives."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jaxalign.files import ParetoTable
from jaxalign.report.drawing import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PALE,
    Sheet,
    as_array,
    layout,
    new_figure,
)

_UNITS = {  # what an objective counts
    "survey": "distance to the target",
    "naive_distance": "% of answers moved",
    "prompt_norm": "× a token's norm",
    "culturalbench_nll": "nats",
    "culturalbench_error": "% wrong",
}
_LETTERS = (11.0, 8.0)  # points that a number takes, right and up
_ROOM = (19.0, 14.0)  # the same with the gap to its dot and half of another dot


def plot_pareto(pareto: ParetoTable, terms: dict[str, Any], sheet: Sheet) -> None:
    """Draw the first objective against each of the others.

    The survey's distance counts as the first if it is one of the objectives.

    Args:
        pareto: of `read_pareto`, with at least one prompt.
        terms: objectives by name of the `naive` model and of the `best` prompt, to be marked too
            if they are known; as in summary.json.
        sheet: title, notice and path of the plot.
    """
    first, *others = in_order(pareto.names)
    columns = min(2, len(others))
    rows = -(-len(others) // columns)
    with new_figure(sheet, (6.0, 0.9 + 3.05 * rows)) as body:
        grid = body.subplots(rows, columns, squeeze=False)
        for axes, other in zip(grid.flat, others, strict=False):
            _draw(axes, pareto, terms, other, first)
        for axes in grid[:, 0]:
            axes.set_ylabel(_label(first).replace("\n", " "))
        for axes in grid.flat[len(others) :]:
            axes.remove()
        body.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
        layout(body)
        for axes in body.axes:
            _number(axes, body.dpi)


def in_order(names: Sequence[str]) -> list[str]:
    """Return the objectives, the survey's distance first if it is one of them."""
    return sorted(names, key=lambda name: name != "survey")


def _label(name: str) -> str:
    return f"{name}\n({_UNITS[name]})" if name in _UNITS else name


def _draw(axes: Axes, pareto: ParetoTable, terms: dict[str, Any], across: str, up: str) -> None:
    """Draw the prompts by two of their objectives, with the naive and the tuned point."""
    table_KO = np.array(pareto.values)
    points_K2 = table_KO[:, [pareto.names.index(across), pareto.names.index(up)]]
    marks: dict[str, Any] = {"linestyle": "none", "clip_on": False}
    axes.plot(*points_K2.T, marker="o", color=GREEN, markersize=5, zorder=3, label="Pareto front",
              **marks)  # fmt: skip
    if len(pareto.names) == 2:  # with more, this projection of the front is not monotonic
        stairs = points_K2[np.argsort(points_K2[:, 0])]
        axes.plot(*stairs.T, drawstyle="steps-post", color=PALE, linewidth=1, zorder=2)
    shown = [points_K2]
    for key, label, color, marker, size in (
        ("best", "tuned", BLUE, "o", 11),
        ("naive", "naive", ORANGE, "s", 6),
    ):
        point = as_array((terms.get(key) or {}).get(name) for name in (across, up))
        if np.isfinite(point).all():
            axes.plot(*point[:, None], label=label, marker=marker, markersize=size, color=color,
                      markerfacecolor="none", markeredgewidth=1.8, zorder=4, **marks)  # fmt: skip
            shown.append(point[None])
    low_2, high_2 = (end(np.concatenate(shown), axis=0) for end in (np.min, np.max))
    axes.set_xlim(min(0.0, low_2[0]), max(1.08 * high_2[0], 1e-9))
    axes.set_ylim(min(0.0, low_2[1]), max(1.08 * high_2[1], 1e-9))
    axes.set_xlabel(_label(across))
    axes.grid()


def _number(axes: Axes, dpi: float) -> None:
    """Number the prompts right above their dots, except where the number would be illegible."""
    points_K2 = np.asarray(axes.lines[0].get_xydata())
    dots_K2 = axes.transData.transform(points_K2) * 72 / dpi
    taken: list[np.ndarray] = []
    for number, (point, dot) in enumerate(zip(points_K2, dots_K2, strict=True)):
        away_K2 = np.delete(dots_K2, number, axis=0) - dot
        hidden = ((away_K2 > (-2, -2)) & (away_K2 < _ROOM)).all(axis=1).any()
        crossed = any((np.abs(dot - other) < _LETTERS).all() for other in taken)
        if not hidden and not crossed:
            taken.append(dot)
            axes.annotate(str(number), point, (6, 4), textcoords="offset points", fontsize=8,
                          color=INK)  # fmt: skip
