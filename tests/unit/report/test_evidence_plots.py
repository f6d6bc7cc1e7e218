"""The plots of the evidence: values where they belong, texts that can be read, nothing cut."""

import itertools
from pathlib import Path

import matplotlib
import msgspec
import numpy as np
import pytest
from fake_evaluation import make_evaluation
from figures import assert_readable
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jaxalign.report import drawing
from jaxalign.report.drawing import METHOD_STYLES, Sheet
from jaxalign.report.evidence.heat_maps import draw_cells, plot_answers, plot_matrix
from jaxalign.report.evidence.record import (
    Answer,
    AnsweredItem,
    Countries,
    Evaluation,
    SampleSize,
)
from jaxalign.report.evidence.respondents_plot import plot_respondents
from jaxalign.report.evidence.rows_plot import Mark, plot_rows
from jaxalign.report.pages import read_plot

LONG = "the longest name that anyone would ever give to a method of theirs, and more"
UNUSED = Path("unused")


def luminance(color) -> float:
    """Relative luminance of sRGB as WCAG 2 defines it."""
    parts = np.array(to_rgb(color))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one, other) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def draw_all(part: str) -> None:
    evaluation = make_evaluation()
    for item in evaluation["answers"]["items"]:
        item["text"] = LONG
    evaluation["countries"]["names"] = {"SA": LONG}
    evaluation = msgspec.convert(evaluation, Evaluation)
    if part == "rows":
        marks = [Mark("tuned", 3.0, [1.0, 5.0]), Mark("naive", 90.0, None, [70.0, 120.0])]
        groups = {"head": [(LONG, marks), ("b", marks)], "none": [], "other": [("c", marks)]}
        plot_rows(groups, Sheet(UNUSED, "title", "notice"), legend=["tuned", "naive"])
    elif part == "answers":
        plot_answers(evaluation.answers.items, ["naive", "tuned"], Sheet(UNUSED, "title", "notice"))
    elif part == "respondents":
        plot_respondents(evaluation.respondents, Sheet(UNUSED, "title", "notice"))
    else:
        plot_matrix(evaluation.countries, Sheet(UNUSED, "title", "notice"))


@pytest.mark.parametrize("part", ["rows", "answers", "respondents", "matrix"])
def test_no_text_overlaps_another_or_leaves_the_picture(figures: list[Figure], part: str):
    draw_all(part)
    (figure,) = figures
    assert_readable(figure)


def test_every_number_in_a_cell_can_be_read_on_its_colour():
    axes = Figure().add_subplot()
    values_RC = np.linspace(0, 1, 200).reshape(20, 10)
    draw_cells(axes, values_RC, [["9"] * 10] * 20, 1, framed=[(0, 0), (19, 9)])
    cells = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_fill()]
    assert len(cells) == len(axes.texts) == 200
    for cell, text in zip(cells, axes.texts, strict=True):
        assert contrast(cell.get_facecolor(), text.get_color()) > 4
    colors = [luminance(cell.get_facecolor()) for cell in cells]
    assert all(before < after for before, after in itertools.pairwise(colors))
    assert len(axes.patches) == 202


def test_cells_turn_over_where_low_is_good_and_are_empty_where_there_is_nothing():
    axes = Figure().add_subplot()
    draw_cells(axes, np.array([[0.0, np.nan, 9.0]]), [["a", "b", "c"]], 9, dark_is_high=True)
    first, last = axes.patches
    cividis = matplotlib.colormaps["cividis"]
    assert first.get_facecolor() == cividis(1.0) and last.get_facecolor() == cividis(0.0)
    assert [text.get_text() for text in axes.texts] == ["a", "c"]


def test_a_page_leaves_the_colours_of_cells_and_of_their_numbers_alone(tmp_path: Path):
    with matplotlib.rc_context(drawing.RC):
        figure = Figure()
        draw_cells(figure.add_subplot(), np.array([[0.0, 1.0]]), [["a", "b"]], 1)
        drawing.save(figure, tmp_path / "cells")
    svg = read_plot(tmp_path / "cells.svg").svg
    cells = [line for line in svg.splitlines() if ">a<" in line or ">b<" in line]
    assert len(cells) == 2 and "var(--" not in "".join(cells)


def test_marks_stand_at_their_losses_filled_or_hollow(figures: list[Figure]):
    rows = [("a", [Mark("tuned", 2.0)]), ("b", [Mark("tuned", 4.0, hollow=True)])]
    plot_rows({"group": rows}, Sheet(UNUSED, "title", None))
    axes = figures[0].axes[0]
    marks = [line for line in axes.lines if line.get_marker() == METHOD_STYLES["tuned"]["marker"]]
    assert [tuple(line.get_xdata()) for line in marks] == [(2.0,), (4.0,)]
    assert [line.get_ydata()[0] for line in marks] == [1, 2]  # below the group's head
    assert [line.get_markerfacecolor() == "none" for line in marks] == [False, True]


@pytest.mark.parametrize(("high", "scale"), [(9.0, "linear"), (30.0, "log")])
def test_losses_are_on_a_logarithmic_axis_over_a_decade(figures: list[Figure], high, scale: str):
    plot_rows({"g": [("a", [Mark("tuned", 1.0, [0.9, high])])]}, Sheet(UNUSED, "title", None))
    axes = figures[0].axes[0]
    assert axes.get_xscale() == scale
    low_end, high_end = axes.get_xlim()
    assert low_end <= 0.9 and high <= high_end


def test_styles_differ_without_colour():
    assert len({style["marker"] for style in METHOD_STYLES.values()}) == len(METHOD_STYLES)


def test_missing_numbers_and_strange_letters_leave_gaps(figures: list[Figure]):
    plot_rows({"g": [("a", [Mark("tuned", None)])]}, Sheet(UNUSED, "title", None))
    items = [
        AnsweredItem(
            id="m01", text="問い", options=["a", "b"], values=[1, 2],
            naive=Answer(shares=[0.5, None]),
        ),
        AnsweredItem(
            id="m02", text="b", options=["a"], values=[1], naive=Answer(shares=[1.0]),
            tuned=Answer(shares=[1.0]),
        ),
    ]  # fmt: skip
    plot_answers(items, ["naive", "tuned"], Sheet(UNUSED, "title", None))
    names = [label.get_text() for label in figures[1].axes[0].get_yticklabels()]
    assert names == ["m01", "m02  b"]
    plot_respondents([SampleSize(method="tuned", n=5, dimensions={})], Sheet(UNUSED, "title", None))
    plot_matrix(Countries(codes=["A"], names={}, matrix=[[None]]), Sheet(UNUSED, "title", None))
    assert len(figures) == 4
