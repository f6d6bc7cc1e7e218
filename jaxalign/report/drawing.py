"""What all plots share: colours, fonts, layout, loss axes, names of lines, and saving.

The plots use matplotlib's object interface, so that nothing global changes, and its constrained
layout. Equal inputs give equal bytes. Colours are from Okabe and Ito's palette, and every series
also has its own dashes or markers, so that no reading depends on colour.
"""

import contextlib
import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.font_manager
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Affine2D, ScaledTranslation, blended_transform_factory
from scipy.optimize import isotonic_regression

from jaxalign.files import write_file

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
INK, MUTED, PALE, GRID = "#1F2328", "#6B7280", "#A9AFB9", "#D8DBE0"
GROUND = "#FFFFFF"
NAIVE_DASHES = (0, (2, 2))

LINE_STYLES: tuple[tuple[str, Any], ...] = (  # colour and dashes of lines of equal standing
    (BLUE, "-"),
    (ORANGE, (0, (6, 2))),
    (GREEN, (0, (6, 1.5, 1.5, 1.5))),
    (PINK, (0, (3, 1))),
    ("#E69F00", (0, (1.2, 1.2))),
    ("#56B4E9", (0, (8, 1.5, 1.5, 1.5, 1.5, 1.5))),
)
METHOD_STYLES: dict[str, dict[str, Any]] = {  # of the marks of methods
    "tuned": {"color": BLUE, "marker": "o"},
    "naive": {"color": ORANGE, "marker": "s"},
    "persona": {"color": GREEN, "marker": "^"},
    "control": {"color": PINK, "marker": "D"},
}

RC = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.borderpad": 0,
    "legend.columnspacing": 1.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "legend.handletextpad": 0.5,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "svg.fonttype": "none",  # text stays text: searchable, small, and the page can colour it
    "text.parse_math": False,  # a dollar in a name is a dollar
}
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}
_SMALL = 8.5  # points


class NotebookFigure(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        png = io.BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()


class End(NamedTuple):
    """The right end of a line, to be named there.

    Attributes:
      text: its name and last value; may have several lines.
      value: its last value.
      color, dashes: of the line.
      bold: whether it stands out from the others.
    """

    text: str
    value: float
    color: str
    dashes: Any
    bold: bool = True


class Sheet(NamedTuple):
    """Title, notice and path of a plot.

    Attributes:
      stem: the path without a suffix; the plot is saved as stem.png and stem.svg.
      title: written above the plot.
      notice: written below it, None for nothing.
    """

    stem: Path
    title: str
    notice: str | None


@contextlib.contextmanager
def new_figure(sheet: Sheet, size: tuple[float, float]) -> Iterator[SubFigure]:
    """Yield the body of a figure of this size in inches to draw in; save the figure afterwards."""
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.07, h_pad=0.07))
        figure.suptitle(sheet.title, x=0.01, ha="left", weight="bold", fontsize=12)
        if sheet.notice:
            figure.supxlabel(
                _fold(sheet.notice, size[0]), x=0.01, ha="left", fontsize=_SMALL, style="italic",
                color=MUTED,
            )  # fmt: skip
        yield figure.add_subfigure(figure.add_gridspec(1, 1)[0])
        save(figure, sheet.stem)


def add_about(body: SubFigure, text: str) -> None:
    """Explain below the plot what is drawn."""
    width = body.get_figure(root=True).get_figwidth()
    body.supxlabel(_fold(text, width), x=0.01, ha="left", fontsize=_SMALL, color=MUTED)


def _fold(text: str, width: float) -> str:
    return textwrap.fill(text, max(20, int(width * 72 / (0.56 * _SMALL))))


def save(figure: Figure, stem: Path) -> None:
    """Write stem.png on white, and stem.svg without a ground, so that the page's own shows."""
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=200, facecolor="white", metadata={"Software": None})
    with matplotlib.rc_context({"svg.hashsalt": stem.name}):
        figure.savefig(svg, format="svg", transparent=True, metadata=_NO_METADATA)
    write_file(stem.with_name(f"{stem.name}.png"), png.getvalue())
    write_file(stem.with_name(f"{stem.name}.svg"), svg.getvalue())


def layout(body: SubFigure) -> None:
    """Lay the figure out as it is now, so that positions on it can be measured."""
    figure = body.get_figure(root=True)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)


def scale_axis(axes: Axes, which: str, values: Iterable[float], *, log_from: float = 10) -> None:
    """Make an axis hold these values: logarithmic if the largest is `log_from` times the smallest.

    Args:
      axes: with the axis.
      which: `x` or `y`.
      values: all that is drawn; values that are not finite are ignored.
      log_from: the ratio from which on the axis is logarithmic.
    """
    shown = [value for value in values if math.isfinite(value)] or [1.0]
    low, high = min(shown), max(shown)
    if low > 0 and high > log_from * low:
        set_log_axis(axes, which, low / 1.2, high * 1.2)
    else:
        getattr(axes, f"set_{which}lim")(min(0.0, 1.1 * low), max(1.1 * high, 1e-9))
        getattr(axes, f"{which}axis").set_major_formatter(lambda value, _: f"{value:g}")


def set_log_axis(axes: Axes, which: str, low: float, high: float) -> None:
    """Make an axis logarithmic, with labels between the decades if there are few."""
    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(low, high)
    axis, decades = getattr(axes, f"{which}axis"), math.log10(high / low)
    subs = (1, 2, 5) if decades < 1.5 else (1, 3) if decades < 2.5 else (1,)
    axis.set_major_locator(matplotlib.ticker.LogLocator(subs=subs))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def set_evaluations_axis(axes: Axes, records: Sequence[dict[str, Any]]) -> None:
    """Make the x axis one of evaluations, with the generations of the records on top.

    Args:
      axes: with the lines in them.
      records: lines of metrics.jsonl, in order, at least one.
    """
    evaluations = np.array([record["evaluations"] for record in records], float)
    axes.set_xlim(0, evaluations[-1] * (1 if len(records) > 1 else 2))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y")
    if len(records) == 1:
        return
    generations = np.array(  # they need not be evenly spaced in evaluations
        [record.get("generation", index) for index, record in enumerate(records)], float
    )
    ticks = matplotlib.ticker.MaxNLocator(nbins=6, integer=True).tick_values(*generations[[0, -1]])
    ticks = ticks[(ticks >= generations[0]) & (ticks <= generations[-1])]
    top = axes.twiny()
    top.set_xlim(axes.get_xlim())
    top.set_xticks(np.interp(ticks, generations, evaluations), [f"{tick:,.0f}" for tick in ticks])
    top.set_xlabel("generation")
    top.spines["top"].set_visible(True)
    top.spines["bottom"].set_visible(False)


def name_ends(body: SubFigure, ends: Mapping[Axes, Sequence[End]]) -> None:
    """Name lines right of their axes, moved apart, each joined to its end by a thin line.

    Args:
      body: the figure with the axes, of which everything else is drawn.
      ends: the lines of each of the axes, in any order.
    """
    figure = body.get_figure(root=True)
    labels = {}
    for axes, of_axes in ends.items():
        points = Affine2D().scale(1 / 72) + figure.dpi_scale_trans
        beside = points + ScaledTranslation(1, 0, axes.transAxes)  # type: ignore[arg-type]
        beyond = blended_transform_factory(beside, axes.transAxes)
        labels[axes] = beyond, [
            axes.text(37, 0.5, end.text, transform=beyond, fontsize=_SMALL, va="center_baseline",
                      color=INK if end.bold else MUTED)
            for end in of_axes
        ]  # fmt: skip
    layout(body)
    for axes, (beyond, texts) in labels.items():
        to_axes = axes.transData + axes.transAxes.inverted()
        natural = [float(to_axes.transform((1, end.value))[1]) for end in ends[axes]]
        order = np.argsort(natural, kind="stable")
        gap = 1.3 * _SMALL * figure.dpi / 72 / axes.bbox.height
        heights = spread([natural[index] for index in order], gap)
        for index, y in zip(order, heights, strict=True):
            end = ends[axes][index]
            line: dict[str, Any] = {"transform": beyond, "color": end.color, "clip_on": False}
            axes.plot([0, 14], [natural[index], y], linewidth=0.7, **line)
            axes.plot([14, 33], [y, y], linewidth=1.9 if end.bold else 0.7,
                      linestyle=end.dashes, **line)  # fmt: skip
            texts[index].set_y(y)


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Move ascending positions as little as possible, by least squares, to be a gap apart.

    Isotonic regression on each position less a gap for each one before it. The result lies between
    0 and 1 if it fits there.
    """
    steps = gap * np.arange(len(wanted))
    means = isotonic_regression(np.asarray(wanted, float) - steps).x
    highest = max(0.0, 1 - (len(wanted) - 1) * gap)
    return (np.clip(means, 0.0, highest) + steps).tolist()


def short(name: str, longest: int = 28) -> str:
    """Return a name, cut where it would take the plot's room."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def as_array(values: Iterable[float | None]) -> np.ndarray:
    """Return float64 with NaN for None and for infinities."""
    array = np.array([math.nan if value is None else value for value in values], float)
    return np.where(np.isfinite(array), array, np.nan)


def last_finite(values: np.ndarray) -> float:
    """Return the last finite value, NaN if there is none."""
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if finite.size else math.nan


def drawable(text: str) -> bool:
    """Return whether the plots' font has every letter of a text."""
    font = matplotlib.font_manager.get_font(matplotlib.font_manager.findfont("DejaVu Sans"))
    return set(map(ord, text)) <= font.get_charmap().keys()
