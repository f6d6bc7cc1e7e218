"""Heat maps: answers by item and option, and losses of each country's prompt for each country.

Their colour scale is perceptually uniform and readable for the colour-blind, with a number in every
cell.
"""

from collections.abc import Collection, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from jaxalign.report.drawing import GROUND, INK, MUTED, Sheet, as_array, drawable, new_figure, short
from jaxalign.report.evidence.record import Answer, AnsweredItem, Countries
from jaxalign.report.numbers import format_loss, format_score

# On the cells' own colours, so the same on a light page and on a dark one: neither is a colour
# that pages replace with their own.
_ON_DARK, _ON_LIGHT = "#FCFCFC", "#101010"
_MIDDLE = 0.18  # luminance of a cell above which dark numbers stand out more
_BESIDE = {"entropy": 1.2, "off": 2.4, "written": 3.75}  # columns from the last option to a text
_ODD = {"refusal": "refused", "unparsed": "unclear"}
_AGREES = {True: "agrees", False: "differs", None: ""}


def plot_answers(
    items: Sequence[AnsweredItem],
    methods: Sequence[str],
    sheet: Sheet,
) -> None:
    """Draw the shares of the options with entropy, off-scale mass and agreement beside them.

    Args:
        items: at least one.
        methods: `naive` or `tuned`, each a panel.
        sheet: title, notice and path of the plot.
    """
    names = [
        short(f"{item.id}  {item.text}" if drawable(item.text) else item.id, 44) for item in items
    ]
    most = max(len(item.options) for item in items)
    size = 3.4 + len(methods) * 0.37 * (most + 4.4), 1.3 + 0.235 * len(items)
    with new_figure(sheet, size) as body:
        grid = body.subplots(1, len(methods), squeeze=False)[0]
        for axes, method in zip(grid, methods, strict=True):
            _draw_answers(axes, [getattr(item, method) for item in items], most)
            axes.set_title(method, pad=8)
        grid[0].set_yticks(range(len(names)), names)


def _draw_answers(axes: Axes, answers: Sequence[Answer | None], most: int) -> None:
    shares_QA = np.full((len(answers), most), np.nan)
    for row, answer in enumerate(answers):
        if answer is None:
            continue
        shares_QA[row, : len(answer.shares)] = as_array(answer.shares)
        off = "" if answer.off_scale is None else format_score(100 * answer.off_scale, 0)
        texts = {
            "entropy": format_score(answer.entropy, 2),
            "off": off,
            "written": _ODD.get(answer.kind or "", _AGREES[answer.agrees]),
        }
        for name, text in texts.items():
            axes.text(most - 1 + _BESIDE[name], row, text, ha="center", va="center_baseline",
                      fontsize=8, color=MUTED if name == "off" else INK)  # fmt: skip
    cells = [[format_score(100 * share, 0) for share in row] for row in shares_QA]
    draw_cells(axes, shares_QA, cells, 1.0)
    columns = [*range(most), *(most - 1 + distance for distance in _BESIDE.values())]
    axes.set_xlim(-0.5, most + 3.9)
    axes.set_xticks(columns, [*map(str, range(1, most + 1)), *_BESIDE], color=MUTED)


def plot_matrix(countries: Countries, sheet: Sheet) -> None:
    """Draw the matrix of losses, with the naive model's as a row of its own below.

    Args:
        countries: with a matrix.
        sheet: title, notice and path of the plot.
    """
    codes = countries.codes
    names = [short(countries.name(code)) for code in codes]
    rows = [as_array(row) for row in countries.matrix or []]
    if countries.naive:
        names.append("no prompt (naive)")
        rows.append(as_array(countries.naive))
    losses_GG = np.stack(rows)
    finite = losses_GG[np.isfinite(losses_GG)]
    size = max(2.5 + 0.85 * len(codes), 5.6), 1.6 + 0.42 * len(rows)
    with new_figure(sheet, size) as body:
        axes = body.subplots()
        texts = [[format_loss(loss) for loss in row] for row in losses_GG]
        own = {(index, index) for index in range(len(codes))}
        high = float(finite.max()) if finite.size else 1.0
        draw_cells(axes, losses_GG, texts, high, dark_is_high=True, framed=own)
        axes.axhline(len(codes) - 0.5, color=GROUND, linewidth=4)
        axes.set_yticks(range(len(names)), names, fontsize=9)
        axes.set_xticks(range(len(codes)), map(short, codes), weight="bold", fontsize=10)
        axes.set_xlabel("scored against", color=MUTED)
        axes.xaxis.set_label_position("top")
        axes.set_ylabel("tuned for", color=MUTED)


def draw_cells(
    axes: Axes,
    values_RC: np.ndarray,
    texts: Sequence[Sequence[str]],
    high: float,
    *,
    dark_is_high: bool = False,
    framed: Collection[tuple[int, int]] = (),
) -> None:
    """Fill cells with colours from 0 to `high` and write their texts; NaN leaves a cell empty.

    Args:
        axes: row 0 will be on top, columns and rows one unit wide, cell (0, 0) around (0, 0).
        values_RC: R rows by C columns.
        texts: of the same shape.
        high: upper end of the scale.
        dark_is_high: whether the scale is turned over, for values of which low is good.
        framed: cells to be framed, by row and column.
    """
    cividis = matplotlib.colormaps["cividis_r" if dark_is_high else "cividis"]
    for (row, column), value in np.ndenumerate(values_RC):
        if not np.isfinite(value):
            continue
        color = cividis(value / max(high, 1e-12))
        luminance = float(np.dot(np.array(color[:3]) ** 2.2, (0.2126, 0.7152, 0.0722)))
        ink = _ON_LIGHT if luminance > _MIDDLE else _ON_DARK
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=color, linewidth=0))
        if (row, column) in framed:
            axes.add_patch(
                Rectangle((column - 0.45, row - 0.42), 0.9, 0.84, fill=False, linewidth=1.3,
                          edgecolor=ink)
            )  # fmt: skip
        axes.text(column, row, texts[row][column], ha="center", va="center_baseline", fontsize=8.5,
                  color=ink)  # fmt: skip
    rows, columns = values_RC.shape
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), yticks=[])
    axes.tick_params(length=0, labelsize=8)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
