"""The front of several objectives: on the page where there is one, and nowhere else."""

import io
import itertools
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from fake_run import NOTICE
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from pages import parse_page

from jaxalign.errors import UserError
from jaxalign.files import ParetoTable, read_pareto
from jaxalign.report import drawing
from jaxalign.report.drawing import Sheet
from jaxalign.report.page import write_report
from jaxalign.report.pareto_plot import plot_pareto

FILES = {"scores.csv", "index.html"} | {
    f"{stem}.{kind}" for stem in ("convergence", "radar") for kind in ("png", "svg")
}
DRAWN = {"front.png", "front.svg"}
TABLE = """prompt,naive_distance,prompt_norm,survey
0,1.5,0.9,107.25
1,3.0,0.7,60.0
2,4.5,1.4,40.5
"""
TERMS = {
    "best": {"survey": 40.5, "naive_distance": 4.5, "prompt_norm": 1.4},
    "naive": {"survey": 108.0, "naive_distance": 0.0, "prompt_norm": 0.0},
}


def drawn(pareto: ParetoTable, terms: dict) -> Figure:
    """The figure of a front, drawn but not written."""
    saved: list[Figure] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "save", lambda figure, stem: saved.append(figure))
        plot_pareto(pareto, terms, Sheet(Path("unused"), "title", "notice"))
    (figure,) = saved
    figure.savefig(io.BytesIO(), format="png")
    return figure


def test_the_page_has_the_front_only_where_there_is_one(workdir: Path):
    page = write_report(workdir)
    without = page.read_bytes()
    (workdir / "pareto.csv").write_text(TABLE)
    write_report(workdir)
    assert {path.name for path in page.parent.iterdir()} == FILES | DRAWN
    assert page.read_bytes() != without
    parser = parse_page(page)
    assert len(parser.ids) == len(set(parser.ids))
    links = {load for load in parser.loads if not load.startswith("#")}
    assert links == (FILES | DRAWN | {"../pareto.csv"}) - {"index.html"}
    assert all((page.parent / link).is_file() for link in links)
    assert NOTICE in (page.parent / "front.svg").read_text()
    ElementTree.parse(page.parent / "front.svg")
    (workdir / "pareto.csv").unlink()
    assert write_report(workdir).read_bytes() == without


@pytest.mark.usefixtures("sketched")
def test_an_empty_front_is_said_and_not_drawn(workdir: Path):
    (workdir / "pareto.csv").write_text("prompt,naive_distance,survey\n")
    page = write_report(workdir)
    assert {path.name for path in page.parent.iterdir()} == FILES
    assert "the Pareto front is empty" in parse_page(page).text


def test_a_front_of_one_is_drawn_and_said_to_trade_nothing(workdir: Path):
    (workdir / "pareto.csv").write_text("prompt,naive_distance,survey\n0,1.5,60\n")
    page = write_report(workdir)
    assert (page.parent / "front.png").stat().st_size > 1000
    assert "best seen on all objectives at once" in parse_page(page).text


@pytest.mark.usefixtures("sketched")
def test_the_words_name_what_each_end_costs(workdir: Path):
    (workdir / "pareto.csv").write_text(TABLE)
    words = parse_page(write_report(workdir)).text
    assert "3 prompts, numbered as in pareto.csv" in words
    assert "The lowest survey, 40.5, costs naive_distance 4.5 and prompt_norm 1.4" in words
    assert "the lowest naive_distance, 1.5, leaves survey at 107.2; the" in words
    assert "the lowest prompt_norm, 0.7, leaves survey at 60.0." in words


def test_each_panel_has_the_survey_against_another_objective(tmp_path: Path):
    (tmp_path / "pareto.csv").write_text(TABLE)
    figure = drawn(read_pareto(tmp_path), TERMS)
    assert [axes.get_xlabel().split("\n")[0] for axes in figure.axes] == [
        "naive_distance",
        "prompt_norm",
    ]
    assert figure.axes[0].get_ylabel().startswith("survey")
    for axes, xs in zip(figure.axes, ([1.5, 3.0, 4.5], [0.9, 0.7, 1.4]), strict=True):
        dots, tuned, naive = axes.lines
        assert dots.get_xdata().tolist() == xs
        assert dots.get_ydata().tolist() == [107.25, 60.0, 40.5]
        assert (tuned.get_xdata()[0], tuned.get_ydata()[0]) == (xs[2], 40.5)
        assert (naive.get_xdata()[0], naive.get_ydata()[0]) == (0.0, 108.0)
    (legend,) = figure.subfigs[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["Pareto front", "tuned", "naive"]


def test_two_objectives_have_stairs_and_unknown_points_are_left_out():
    pareto = ParetoTable(("first of all", "other"), ((1.0, 3.0), (2.0, 1.0)))
    dots, stairs = drawn(pareto, {"best": {"other": 1.0}}).axes[0].lines
    assert stairs.get_drawstyle() == "steps-post"
    np.testing.assert_array_equal(stairs.get_xydata(), [[1.0, 2.0], [3.0, 1.0]])
    np.testing.assert_array_equal(dots.get_xydata(), [[3.0, 1.0], [1.0, 2.0]])


CROWDED = st.integers(70, 100).map(float)  # an axis begins at 0, so these lie close together


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(CROWDED, CROWDED, CROWDED), min_size=1, max_size=16))
def test_numbers_stand_by_their_own_dots_clear_of_the_others(rows: list[tuple[float, ...]]):
    figure = drawn(ParetoTable(("a", "b", "survey"), tuple(rows)), {})
    for axes, column in zip(figure.axes, (0, 1), strict=True):
        boxes = []
        for text in axes.texts:
            row = rows[int(text.get_text())]
            assert text.xy == (row[column], row[2])
            boxes.append(text.get_window_extent())
        for one, other in itertools.combinations(boxes, 2):
            shared = min(one.y1, other.y1) - max(one.y0, other.y0)
            if one.x0 < other.x1 and other.x0 < one.x1:  # extents count the room for accents too
                assert shared < 0.3 * one.height
        dots = axes.transData.transform([(row[column], row[2]) for row in rows])
        for box in boxes:
            inside = (dots > box.min) & (dots < box.max)
            assert not inside.all(axis=1).any()


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "line 1"),
        ("prompt,survey\n0,1\n", "line 1"),
        ("prompt,a,b\n0,1,2\n1,1\n", "line 3"),
        ("prompt,a,b\n0,1,nan\n", "line 2"),
        ("prompt,a,b\n0,1,two\n", "line 2"),
    ],
)
def test_a_damaged_front_is_named_in_one_line(workdir: Path, content: str, fault: str):
    (workdir / "pareto.csv").write_text(content)
    with pytest.raises(UserError, match=rf"pareto\.csv: {fault}") as error:
        write_report(workdir)
    assert "\n" not in str(error.value)
