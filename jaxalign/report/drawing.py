"""What the plots share: colours, type, axes of losses, names of lines, and how they are saved.

Drawn with matplotlib's object interface, so that nothing global changes. Equal inputs give equal
bytes. Colours are from Okabe and Ito's palette, and every series differs in its dashes or markers
too, so that no reading depends on colour.
"""

import io
import math
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.font_manager
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxalign.files import write_file

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
INK, MUTED, PALE, GRID = "#1F2328", "#6B7280", "#A9AFB9", "#D8DBE0"
GROUND = "#FFFFFF"

LINE_STYLES: tuple[tuple[str, Any], ...] = (  # colour and dashes of lines of equal standing
    (BLUE, "-"),
    (ORANGE, (0, (6, 2))),
    (GREEN, (0, (6, 1.5, 1.5, 1.5))),
    (PINK, (0, (3, 1))),
    ("#E69F00", (0, (1.2, 1.2))),
    ("#56B4E9", (0, (8, 1.5, 1.5, 1.5, 1.5, 1.5))),
)

RC = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "svg.fonttype": "none",  # text stays text: searchable, small, and the page can colour it
    "text.parse_math": False,  # a dollar in a name is a dollar
}
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}
_LONGEST = 28  # letters of a name
_LETTER = 0.0078  # inches of an italic letter for each point of its size, a little more than most


class NotebookFigure(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        png = io.BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()


class End(NamedTuple):
    """The right end of a line, to be named there.

    Attributes:
      text: its name and last value.
      place: where it ends, as a share of the axis's height.
      color, dashes: of the line.
      bold: whether it stands before the others.
    """

    text: str
    place: float
    color: str
    dashes: Any
    bold: bool = True


def frame_losses(
    axes: Axes, records: Sequence[dict[str, Any]], losses: np.ndarray | Sequence[float]
) -> None:
    """Sets the axes of losses over evaluations, with the generations of the records on top.

    The loss axis is logarithmic when what it shows spans more than a factor of ten.

    Args:
      axes: with the lines in them.
      records: lines of metrics.jsonl, in order, at least one.
      losses: all that is shown; what is not finite is left out.
    """
    evaluations = np.array([record["evaluations"] for record in records], float)
    shown = np.asarray(losses, float)
    shown = shown[np.isfinite(shown)]
    if shown.size and shown.min() > 0 and shown.max() > 10 * shown.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        axes.set_ylim(shown.min() * 0.85, shown.max() * 1.2)
    elif shown.size:
        axes.set_ylim(min(0.0, shown.min() * 1.1), max(shown.max() * 1.1, 1e-9))
    axes.set_xlim(0, evaluations[-1] * (1 if len(records) > 1 else 2))
    if len(records) > 1:
        _add_generations(axes, evaluations, records)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("evaluations")
    axes.set_ylabel("loss")
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _add_generations(
    axes: Axes, evaluations: np.ndarray, records: Sequence[dict[str, Any]]
) -> None:
    """Puts generations on the top axis; they need not be evenly spaced in evaluations."""
    generations = np.array(
        [record.get("generation", index) for index, record in enumerate(records)], float
    )
    top = axes.twiny()
    top.set_xlim(axes.get_xlim())
    locator = matplotlib.ticker.MaxNLocator(nbins=6, integer=True)
    ticks = [
        tick
        for tick in locator.tick_values(generations[0], generations[-1])
        if generations[0] <= tick <= generations[-1]
    ]
    top.set_xticks(np.interp(ticks, generations, evaluations), [f"{tick:,.0f}" for tick in ticks])
    top.set_xlabel("generation")
    top.spines[["right", "bottom"]].set_visible(False)


def name_ends(axes: Axes, ends: Iterable[End], gap: float) -> None:
    """Names lines right of the axes, each joined to its end by a thin line.

    Args:
      axes: in a figure of the size that it is saved in.
      ends: of the lines, in any order.
      gap: least distance between two names, as a share of the axis's height.
    """
    ends = sorted(ends, key=lambda end: end.place)
    inch = axes.figure.dpi / axes.bbox.width
    for end, place in zip(ends, spread([end.place for end in ends], gap), strict=True):
        line: dict[str, Any] = {"transform": axes.transAxes, "color": end.color, "clip_on": False}
        turn, stop = 1 + 0.25 * inch, 1 + 0.55 * inch
        axes.plot([1, turn], [end.place, place], linewidth=0.7, **line)
        axes.plot([turn, stop], [place, place], linewidth=1.9 if end.bold else 0.7,
                  linestyle=end.dashes, **line)  # fmt: skip
        axes.text(stop + 0.06 * inch, place, end.text, transform=axes.transAxes, fontsize=8.5,
                  va="center_baseline", color=INK if end.bold else MUTED)  # fmt: skip


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Moves ascending places as little as can be, by least squares, to be a gap apart.

    Less a gap for each one before it, a place may only stay or rise: isotonic regression, by
    pooling neighbours that fall into their mean. Then all are kept between 0 and 1, if they fit.
    """
    pools: list[tuple[float, int]] = []  # mean, count
    for index, place in enumerate(wanted):
        mean, count = place - index * gap, 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean = (before * many + mean * count) / (many + count)
            count += many
        pools.append((mean, count))
    highest = max(0.0, 1 - (len(wanted) - 1) * gap)
    means = [min(max(mean, 0.0), highest) for mean, count in pools for _ in range(count)]
    return [mean + index * gap for index, mean in enumerate(means)]


def add_texts(figure: Figure, title: str, notice: str | None, left: float) -> None:
    """Writes the title above all and the notice, where there is one, below: smaller if it is long.

    A line of the notice is a text of its own, from the lowest up.
    """
    width, height = figure.get_size_inches()
    figure.text(left, 1 - 0.12 / height, title, weight="bold", fontsize=12, va="top")
    room = (1 - left) * width / _LETTER
    size = 8.5 if len(notice or "") * 8.5 <= room else 7.0
    lines = textwrap.wrap(notice or "", max(int(room / size), 20))
    for number, line in enumerate(reversed(lines)):
        place = (0.1 + number * 1.25 * size / 72) / height
        figure.text(left, place, line, fontsize=size, style="italic", color=MUTED)


def save(figure: Figure, stem: Path) -> None:
    """Writes stem.png on white and stem.svg on nothing, so that a page's own ground shows."""
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=200, facecolor="white", metadata={"Software": None})
    with matplotlib.rc_context({"svg.hashsalt": stem.name}):
        figure.savefig(svg, format="svg", transparent=True, metadata=_NO_METADATA)
    write_file(stem.with_name(f"{stem.name}.png"), png.getvalue())
    write_file(stem.with_name(f"{stem.name}.svg"), svg.getvalue())


def short(name: str, longest: int = _LONGEST) -> str:
    """A name, cut where it would take the plot's place."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def as_array(values: Iterable[float | None]) -> np.ndarray:
    """Returns float64 with NaN for None and for infinities."""
    array = np.array([math.nan if value is None else value for value in values], float)
    return np.where(np.isfinite(array), array, np.nan)


def last_finite(values: np.ndarray) -> float:
    """Returns the last finite value, NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if finite.size else math.nan


def drawable(text: str) -> bool:
    """Whether the plots' font has every letter of a text."""
    font = matplotlib.font_manager.get_font(matplotlib.font_manager.findfont("DejaVu Sans"))
    return set(map(ord, text)) <= font.get_charmap().keys()
