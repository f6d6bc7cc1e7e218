"""Plots of a comparison: what can be read off them."""

import itertools
import math
import subprocess
import sys
from pathlib import Path

import pytest
from comparison_runs import BUDGET, make_run, three_methods, write
from figures import assert_readable, shown_texts
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from jaxalign.report import drawing
from jaxalign.report.comparison import (
    Run,
    plot_curves,
    plot_finals,
)
from jaxalign.report.drawing import Sheet, spread


@pytest.fixture
def runs() -> list[Run]:
    return three_methods()


NAMES = [f"method {number} of {'many words'[: number % 11]}" for number in range(16)]


def many_runs(floor: float = 1.0) -> list[Run]:
    """16 methods on two countries from three seeds, of all kinds, their ends close together."""
    return [
        make_run(*(floor + 70 * 0.5 ** (step * (1 + index % 3)) + 0.01 * seed * index
                   for step in range(5)),
                 method=name, country=country, seed=seed,
                 kind=("ours", "evosax", "outside", "gradient")[index % 4])
        for index, name in enumerate(NAMES)
        for country in ("SA", "CN")
        for seed in range(3)
    ]  # fmt: skip


BOTH = pytest.mark.parametrize("plot", [plot_finals, plot_curves])


@BOTH
def test_no_text_overlaps_another_or_leaves_the_picture(figures: list[Figure], plot):
    plot(many_runs(), BUDGET, Sheet(Path("unused"), "title", "notice"))
    (figure,) = figures
    assert len(shown_texts(figure)) > 2 * len(NAMES)
    assert_readable(figure)


def test_finals_show_each_seed_and_the_median(figures: list[Figure], runs: list[Run]):
    plot_finals(runs, BUDGET, Sheet(Path("unused"), "title", None))
    saudi, china = figures[0].axes
    dots = {tuple(line.get_xdata()) for line in saudi.lines if line.get_linestyle() == "None"}
    assert {(8.0, 16.0), (8.0,)} <= dots
    assert [text.get_text() for text in saudi.texts[:3]] == ["8.0", "12.0", "failed"]
    assert [text.get_text() for text in china.texts] == ["4.0", "24.0"]
    names = [label.get_text().split() for label in saudi.get_yticklabels()]
    assert names == [["Adam", "1"], ["DE|x", "2"], ["broken", "3"]]


def test_curves_are_medians_in_steps(figures: list[Figure], runs: list[Run]):
    plot_curves(runs, BUDGET, Sheet(Path("unused"), "title", None), highlighted=["DE|x", "no such"])
    saudi, _ = figures[0].axes
    (curve,) = (line for line in saudi.lines if line.get_color() == drawing.BLUE
                and line.get_drawstyle() == "steps-post")  # fmt: skip
    assert curve.get_xdata().tolist() == [20, 40, 100]
    assert curve.get_ydata().tolist() == [60, 12, 12]
    assert len(saudi.collections) == 1  # one band, of the highlighted method
    labels = [text.get_text() for text in saudi.texts]
    assert labels == ["Adam  8.0", "DE|x  12.0", "broken  failed"]


def test_at_most_six_methods_are_highlighted(figures: list[Figure]):
    plot_curves(many_runs(), BUDGET, Sheet(Path("unused"), "title", None))
    assert [len(axes.collections) for axes in figures[0].axes] == [6, 6]


@BOTH
@pytest.mark.parametrize("end", [0.0, 1e-30, math.inf])
def test_losses_without_a_place_on_the_axis_leave_the_others_readable(
    tmp_path: Path, figures: list[Figure], plot, end: float
):
    first = (end,) if end == math.inf else (60.0, end)
    runs = [make_run(*first, method="odd"), make_run(60.0, 7.0, method="even")]
    plot(runs, BUDGET, Sheet(tmp_path / "plot", "title", None))
    (axes,) = figures[0].axes
    low, high = axes.get_xlim() if plot is plot_finals else axes.get_ylim()
    assert 1 < low < 7
    assert 80 < high < 200
    said = any("or less" in text.get_text() for text in shown_texts(figures[0]))
    assert said == (end < 1)


@BOTH
def test_one_run_of_one_point_is_drawn(tmp_path: Path, plot):
    plot([make_run(80.0)], BUDGET, Sheet(tmp_path / "plot", "the title", "the notice"))
    text = (tmp_path / "plot.svg").read_text()
    assert "the title" in text
    assert "the notice" in text
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_two_renders_are_equal_byte_for_byte_in_other_processes(tmp_path: Path):
    write(tmp_path / "histories.csv")
    program = """if True:
        import sys
        from pathlib import Path
        from jaxalign.report.comparison import plot_curves, plot_finals, read_runs
        from jaxalign.report.drawing import Sheet
        runs = read_runs(Path(sys.argv[1]))
        plot_curves(runs, 100, Sheet(Path(sys.argv[2]) / "curves", "t", "n"))
        plot_finals(runs, 100, Sheet(Path(sys.argv[2]) / "finals", "t", "n"))
        assert "matplotlib.pyplot" not in sys.modules
    """
    for folder in ("one", "two"):
        command = [sys.executable, "-c", program, tmp_path / "histories.csv", tmp_path / folder]
        subprocess.run(command, check=True)
    for name in ("curves.svg", "curves.png", "finals.svg", "finals.png"):
        one, two = (tmp_path / folder / name for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


@given(st.lists(st.floats(0, 1), max_size=12).map(sorted), st.floats(0.01, 0.08))
def test_names_are_spread_a_gap_apart_in_order_and_inside(wanted: list[float], gap: float):
    places = spread(wanted, gap)
    assert len(places) == len(wanted)
    for low, high in itertools.pairwise(places):
        assert high - low >= gap - 1e-9
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)


def test_names_stay_where_there_is_room_and_share_what_there_is_not():
    assert spread([0.1, 0.5, 0.9], 0.2) == pytest.approx([0.1, 0.5, 0.9])
    assert spread([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    assert spread([0.5, 0.52, 0.9], 0.1) == pytest.approx([0.46, 0.56, 0.9])
    assert spread([0.0, 0.0], 0.1) == pytest.approx([0.0, 0.1])
    assert spread([1.0, 1.0], 0.1) == pytest.approx([0.9, 1.0])
