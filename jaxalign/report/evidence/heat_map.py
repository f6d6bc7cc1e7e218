"""Heat maps: a perceptually uniform scale that the colour-blind read, a number in every cell."""

from collections.abc import Collection, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from jaxalign.report.drawing import INK, MUTED

# On the cells' own colours, so the same on a light page and on a dark one: neither is a colour
# that pages swap for theirs.
_ON_DARK, _ON_LIGHT = "#FCFCFC", "#101010"
_MIDDLE = 0.18  # luminance of a cell from which on dark numbers stand out more


def draw_cells(
    axes: Axes,
    values_RC: np.ndarray,
    texts: Sequence[Sequence[str]],
    low: float,
    high: float,
    *,
    dark_is_high: bool = False,
    framed: Collection[tuple[int, int]] = (),
    size: float = 8,
) -> None:
    """Fills cells with colours of cividis and writes their texts; NaN leaves a cell empty.

    Args:
        axes: row 0 will be on top, columns and rows one unit wide, cell (0, 0) around (0, 0).
        values_RC: R rows by C columns.
        texts: of the same shape.
        low: lower end of the scale.
        high: upper end of it.
        dark_is_high: whether the scale is turned over, for values of which low is good.
        framed: cells to be framed, by row and column.
        size: of the texts, in points.
    """
    cividis = matplotlib.colormaps["cividis_r" if dark_is_high else "cividis"]
    span = max(high - low, 1e-12)
    for (row, column), value in np.ndenumerate(values_RC):
        if not np.isfinite(value):
            continue
        color = cividis((value - low) / span)
        luminance = float(np.dot(np.array(color[:3]) ** 2.2, (0.2126, 0.7152, 0.0722)))
        ink = _ON_LIGHT if luminance > _MIDDLE else _ON_DARK
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=color, linewidth=0))
        if (row, column) in framed:
            axes.add_patch(
                Rectangle((column - 0.45, row - 0.42), 0.9, 0.84, fill=False, linewidth=1.3,
                          edgecolor=ink)
            )  # fmt: skip
        axes.text(column, row, texts[row][column], ha="center", va="center_baseline", fontsize=size,
                  color=ink)  # fmt: skip
    rows, columns = values_RC.shape
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def write_beside(
    axes: Axes, place: float, texts: Sequence[str], *, align: str = "center", muted: bool = False
) -> None:
    """Writes a text beside each row.

    Args:
        axes: of `draw_cells`.
        place: in columns from the middle of the first.
        texts: one for each row.
        align: `left`, `center` or `right`.
        muted: whether they stand back.
    """
    for row, text in enumerate(texts):
        axes.text(place, row, text, ha=align, va="center_baseline", fontsize=8, clip_on=False,
                  color=MUTED if muted else INK)  # fmt: skip


def write_above(axes: Axes, places: Sequence[float], texts: Sequence[str]) -> None:
    """Writes texts above the first row, in columns from the middle of the first."""
    for place, text in zip(places, texts, strict=True):
        axes.text(place, -0.75, text, ha="center", va="bottom", fontsize=8, color=MUTED,
                  clip_on=False)  # fmt: skip
