"""Comparisons: statistics worked out by hand, a file that survives any cut, tables, plots."""

import csv
import io
import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from rich.console import Console

from jaxalign.errors import UserError
from jaxalign.report import drawing
from jaxalign.report.comparison import (
    Run,
    append_run,
    plot_curves,
    plot_finals,
    print_comparison,
    read_runs,
    render_markdown,
    summarise,
    write_summary_csv,
)
from jaxalign.report.comparison.statistics import area, loss_at, quartiles, reached
from jaxalign.report.drawing import spread

BUDGET = 100


def make_run(
    *losses: float, method: str = "DE", country: str = "SA", seed: int = 0, **other
) -> Run:
    """A run of naive loss 80, with a point at 20, 40, … evaluations."""
    points = tuple((20 * number, loss) for number, loss in enumerate(losses, start=1))
    facts = {"kind": "ours", "naive_loss": 80.0, "forward_equivalents": 100.0} | other
    return Run(method, facts.pop("kind"), country, seed, initial_loss=losses[0], points=points,
               **facts)  # fmt: skip


def summary_of(*runs: Run):
    """The line over all countries of the only method."""
    (line,) = (line for line in summarise(runs, BUDGET) if line.country is None)
    return line


# Statistics.


def test_the_best_loss_is_a_step_function_of_evaluations():
    run = make_run(60.0, 30.0)
    at = {evaluations: loss_at(run, evaluations) for evaluations in (0, 19, 20, 39, 40, 1000)}
    assert at == {0: math.inf, 19: math.inf, 20: 60.0, 39: 60.0, 40: 30.0, 1000: 30.0}


def test_a_goal_is_reached_at_the_first_point_that_is_not_above_it():
    run = make_run(60.0, 40.0, 30.0, 8.0)
    assert reached(run, 40.0, BUDGET) == 40
    assert reached(run, 39.9, BUDGET) == 60
    assert reached(run, 8.0, 80) == 80
    assert reached(run, 8.0, 79) == math.inf
    assert reached(run, 7.9, BUDGET) == math.inf


def test_the_area_by_hand():
    """20 × 80 (naive), 20 × 60, 60 × 20; of 100 × 80."""
    assert area(make_run(60.0, 20.0), BUDGET) == pytest.approx((1600 + 1200 + 1200) / 8000)


def test_the_area_ends_at_the_budget():
    """At 30: 20 × 80 and 10 × 60; what comes later counts for nothing."""
    for run in (make_run(60.0, 1.0), make_run(60.0), make_run(60.0, 60.0, 60.0, 0.0)):
        assert area(run, 30) == pytest.approx((1600 + 600) / 2400)


def test_the_naive_loss_stands_where_all_failed():
    assert area(make_run(math.inf, math.inf, 20.0), BUDGET) == pytest.approx((60 + 40 / 4) / 100)
    assert area(make_run(math.inf), BUDGET) == 1


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=9))
def test_quartiles_are_numpys(values: list[float]):
    found = quartiles(values)
    expected = np.quantile(values, (0.25, 0.5, 0.75))
    np.testing.assert_allclose((found.low, found.median, found.high), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([math.inf, 1.0, 2.0], (1.5, 2.0, math.inf)),
        ([1.0, math.inf], (math.inf, math.inf, math.inf)),
        ([1.0, 2.0, 3.0, 4.0, math.inf], (2.0, 3.0, 4.0)),
        ([math.inf] * 3, (math.inf,) * 3),
    ],
)
def test_quartiles_with_failed_runs(values: list[float], expected: tuple[float, ...]):
    found = quartiles(values)
    assert (found.low, found.median, found.high) == expected


def test_a_summary_by_hand():
    runs = [
        make_run(60.0, 40.0, 30.0, 8.0, seed=0),
        make_run(60.0, 50.0, 40.0, 16.0, seed=1),
        make_run(40.0, 4.0, seed=2),
    ]
    line = summary_of(*runs)
    assert (line.loss.low, line.loss.median, line.loss.high) == (6.0, 8.0, 12.0)
    assert line.share == 8 / 80
    assert (line.half.evaluations, line.half.runs) == (40.0, 3)  # 40, 60, 20
    assert (line.tenth.evaluations, line.tenth.runs) == (80.0, 2)  # 80, never, 40
    # Sums of 20 × best / 80 / 100: 80 60 40 30 8, 80 60 50 40 16, 80 40 4 4 4.
    assert line.area == pytest.approx(20 * (80 + 60 + 40 + 30 + 8) / 8000)
    assert line.runs == 3


@pytest.mark.parametrize(
    ("ends", "evaluations", "arrived"),
    [
        ((1, 1, 1), 40, 3),
        ((1, 1, 70), 40, 2),
        ((1, 70, 70), math.inf, 1),
        ((1, 1, 70, 70), math.inf, 2),  # the median lies between 40 and beyond the budget
        ((70, 70), math.inf, 0),
    ],
)
def test_a_goal_that_half_of_the_runs_miss_has_no_median(ends, evaluations: float, arrived: int):
    runs = [make_run(75.0, float(end), seed=seed) for seed, end in enumerate(ends)]
    half = summary_of(*runs).half
    assert (half.evaluations, half.runs) == (evaluations, arrived)


def test_methods_are_ranked_by_their_median_share_over_countries_and_seeds():
    runs = [
        # Shares .5 and .1: median .3. Shares .2 and .2. Shares .2 and .2 by another naive loss.
        make_run(40.0, method="mixed", country="SA"),
        make_run(8.0, method="mixed", country="CN"),
        make_run(16.0, method="steady", country="SA"),
        make_run(16.0, method="steady", country="CN"),
        make_run(32.0, method="equal", country="SA", naive_loss=160.0),
        make_run(32.0, method="equal", country="CN", naive_loss=160.0),
        make_run(math.inf, method="broken", country="CN"),
    ]
    summaries = summarise(runs, BUDGET)
    ranks = [(line.rank, line.method) for line in summaries if line.country is None]
    assert ranks == [(1, "equal"), (1, "steady"), (3, "mixed"), (4, "broken")]
    order = [(line.method, line.country) for line in summaries]
    assert order[:3] == [("equal", None), ("equal", "SA"), ("equal", "CN")]
    assert order[-2:] == [("broken", None), ("broken", "CN")]
    assert summaries[6].share == pytest.approx(0.3)


def test_what_lies_beyond_the_budget_counts_for_nothing():
    long = summary_of(make_run(60.0, 40.0, 30.0, 20.0, 10.0, 1.0, 0.5))
    short = summary_of(make_run(60.0, 40.0, 30.0, 20.0, 10.0))
    assert long == short


# histories.csv.

RUNS = [
    make_run(60.0, 1 / 3, seed=0),
    make_run(math.inf, 5e-324, 0.0, seed=1, kind="gradient", forward_equivalents=300.5),
    make_run(60.0, method='a "quoted", long | name é', country="CN", kind="outside"),
]


def write(path: Path, runs: list[Run] = RUNS) -> bytes:
    for run in runs:
        append_run(path, run)
    return path.read_bytes()


def test_runs_come_back_as_they_were(tmp_path: Path):
    path = tmp_path / "folder" / "histories.csv"
    assert read_runs(path) == []
    write(path)
    assert read_runs(path) == RUNS


def test_the_file_is_tidy(tmp_path: Path):
    write(tmp_path / "histories.csv")
    with (tmp_path / "histories.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 + 3 + 1
    assert rows[1] == {
        "method": "DE",
        "kind": "ours",
        "country": "SA",
        "seed": "0",
        "naive_loss": "80.0",
        "initial_loss": "60.0",
        "forward_equivalents": "100.0",
        "point": "2",
        "points": "2",
        "evaluations": "40",
        "best_loss": str(1 / 3),
    }


def test_a_file_cut_at_any_byte_goes_on_where_it_stopped(tmp_path: Path):
    """Whole runs survive, the cut one does not, and writing the rest gives the uncut file."""
    whole = write(tmp_path / "whole.csv")
    ends = []
    for count in (1, 2, 3):
        part = tmp_path / f"{count}.csv"
        ends.append(len(write(part, RUNS[:count])))
    path = tmp_path / "cut.csv"
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        found = read_runs(path)
        assert found == RUNS[: sum(end <= cut for end in ends)]
        write(path, RUNS[len(found) :])
        assert path.read_bytes() == whole


def test_a_run_is_written_once(tmp_path: Path):
    before = write(tmp_path / "histories.csv")
    with pytest.raises(UserError, match="already holds DE, SA, seed 0"):
        append_run(tmp_path / "histories.csv", make_run(1.0))
    assert (tmp_path / "histories.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lines: [b"generation,loss", *lines[1:]], "line 1 is not method,kind"),
        (lambda lines: [*lines[:1], *lines[2:]], "line 2: point 2 where point 1 should be"),
        (lambda lines: [*lines[:2], *lines[3:]], "line 3: the run before it ends after 1"),
        (lambda lines: [*lines, *lines[1:3]], "line 9: DE, SA, seed 0 is there twice"),
        (lambda lines: [*lines[:3], b"x", *lines[3:]], "line 4: 1 fields, not 11"),
        (lambda lines: [lines[0], b"", *lines[1:]], "line 2: 0 fields, not 11"),
        (lambda lines: [*lines[:3], b"\xff\xfe", *lines[3:]], "line 4: .* decode"),
        (lambda lines: [line.replace(b"ours", b"mine") for line in lines], "line 3: kind 'mine'"),
        (lambda lines: [line.replace(b"80.0", b"eighty") for line in lines], "line 2: .*'eighty'"),
    ],
)
def test_damage_elsewhere_is_told_by_its_line(tmp_path: Path, spoil, message: str):
    path = tmp_path / "histories.csv"
    lines = write(path).split(b"\n")[:-1]
    path.write_bytes(b"".join(line + b"\n" for line in spoil(lines)))
    with pytest.raises(UserError, match=message) as caught:
        read_runs(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read"):
        read_runs(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be"):
        append_run(tmp_path / "file" / "histories.csv", RUNS[0])


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "mine"},
        {"method": "two\nlines"},
        {"method": " "},
        {"naive_loss": 0.0},
        {"naive_loss": math.inf},
        {"forward_equivalents": math.nan},
    ],
)
def test_a_run_out_of_range_is_refused(change: dict):
    with pytest.raises(ValueError):
        make_run(1.0, **change)


@pytest.mark.parametrize("losses", [(1.0, 2.0), (math.nan,), (1.0, math.inf)])
def test_a_best_loss_that_rises_is_refused(losses: tuple[float, ...]):
    with pytest.raises(ValueError):
        make_run(*losses)


def test_evaluations_that_do_not_rise_are_refused():
    for points in ((), ((20, 3.0), (20, 2.0))):
        with pytest.raises(ValueError):
            Run("DE", "ours", "SA", 0, 80.0, 3.0, 100.0, points)


# Tables.


@pytest.fixture
def runs() -> list[Run]:
    """Three methods, one of them twice as costly, one without a run on CN."""
    return [
        make_run(60.0, 8.0, method="DE|x", seed=0),
        make_run(60.0, 16.0, method="DE|x", seed=1),
        make_run(60.0, 24.0, method="DE|x", country="CN"),
        make_run(40.0, 8.0, method="Adam", country="SA", kind="gradient", forward_equivalents=1e4),
        make_run(40.0, 4.0, method="Adam", country="CN", kind="gradient", forward_equivalents=1e4),
        make_run(math.inf, method="broken", country="SA", kind="outside"),
    ]


def test_the_markdown_table_by_hand(runs: list[Run]):
    assert render_markdown(summarise(runs, BUDGET), BUDGET).splitlines() == [
        "| rank | method | kind | SA | CN | share of naive | to 1/2 | to 1/10 | area "
        "| forward passes | runs |",
        "| ---: | :--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| 1 | Adam | gradient | 8.0 (8.0 to 8.0) | 4.0 (4.0 to 4.0) | 7.5% | 20 | 40 | 0.345 "
        "| 10,000 | 2 |",
        "| 2 | DE\\|x | ours | 12.0 (10.0 to 14.0) | 24.0 (24.0 to 24.0) | 20.0% | 40 "
        "| >100 [1/3] | 0.470 | 100 | 3 |",
        "| 3 | broken | outside | – | – | – | >100 [0/1] | >100 [0/1] | 1.000 | 100 | 1 |",
    ]


def printed(runs: list[Run], width: int = 80) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    print_comparison(summarise(runs, BUDGET), BUDGET, console=console)
    return out.getvalue()


def test_the_terminal_shows_the_medians(runs: list[Run]):
    text = printed(runs)
    rows = {line.split()[1]: line.split()[2:] for line in text.splitlines()
            if line.split()[:1] in (["1"], ["2"], ["3"])}  # fmt: skip
    assert rows["Adam"] == ["8.0", "4.0", "7.5%", "20", "40", "2"]
    assert rows["DE|x"] == ["12.0", "24.0", "20.0%", "40", ">100", "3"]
    assert rows["broken"] == ["–", "–", "–", ">100", ">100", "1"]
    assert "Adam: cost 10,000 forward passes a run, not 100" in text
    assert "DE|x: cost" not in text


def test_four_countries_fit_into_80_columns():
    runs = [
        make_run(1234.5, method="a method [bold] of many words", country=country, naive_loss=2e3)
        for country in ("SA", "CN", "IN", "US")
    ]
    text = printed(runs)
    assert text.count("1,234.5") == 4
    assert "[bold]" in text
    assert "…" not in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_the_summary_csv_holds_every_number(tmp_path: Path, runs: list[Run]):
    summaries = summarise(runs, BUDGET)
    write_summary_csv(tmp_path / "summary.csv", summaries)
    with (tmp_path / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["country"] for row in rows] == ["all", "SA", "CN", "all", "SA", "CN", "all", "SA"]
    assert [float(row["loss_q25"]) for row in rows[:6]] == [s.loss.low for s in summaries[:6]]
    assert [float(row["area"]) for row in rows] == [line.area for line in summaries]
    overall = rows[3]
    assert (overall["method"], overall["half_evaluations"]) == ("DE|x", "40.0")
    assert (overall["tenth_evaluations"], overall["tenth_reached"]) == ("", "1")
    assert rows[6]["loss_median"] == "inf"


# Plots.

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
    plot(many_runs(), BUDGET, "title", "notice", Path("unused"))
    (figure,) = figures
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        texts += [*axes.texts, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):  # the ticks beyond the limits are not drawn
            low, high = sorted(axis.get_view_interval())
            labels = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
            texts += [label for place, label in labels if low <= place <= high]
    boxes = {text: text.get_window_extent() for text in texts if text.get_text()}
    assert len(boxes) > 2 * len(NAMES)
    for text, box in boxes.items():
        inside = figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert inside, text
    for (one, box), (other, beside) in itertools.combinations(boxes.items(), 2):
        # A row's line is as high as its letters need; extents count the room for accents too.
        shared = min(box.y1, beside.y1) - max(box.y0, beside.y0)
        if box.x0 < beside.x1 and beside.x0 < box.x1:
            assert shared < 0.2 * min(box.height, beside.height), (one, other)


def test_finals_show_each_seed_and_the_median(figures: list[Figure], runs: list[Run]):
    plot_finals(runs, BUDGET, "title", None, Path("unused"))
    saudi, china = figures[0].axes
    dots = {tuple(line.get_xdata()) for line in saudi.lines if line.get_linestyle() == "None"}
    assert {(8.0, 16.0), (8.0,)} <= dots
    assert [text.get_text() for text in saudi.texts[:3]] == ["8.0", "12.0", "failed"]
    assert [text.get_text() for text in china.texts] == ["4.0", "24.0"]
    names = [text.get_text() for text in saudi.texts[3:]]
    assert names == ["1", "Adam", "2", "DE|x", "3", "broken"]


def test_curves_are_medians_in_steps(figures: list[Figure], runs: list[Run]):
    plot_curves(runs, BUDGET, "title", None, Path("unused"), highlighted=["DE|x", "no such"])
    saudi, _ = figures[0].axes
    (curve,) = (line for line in saudi.lines if line.get_color() == drawing.BLUE
                and line.get_drawstyle() == "steps-post")  # fmt: skip
    assert curve.get_xdata().tolist() == [20, 40, 100]
    assert curve.get_ydata().tolist() == [60, 12, 12]
    assert len(saudi.collections) == 1  # one band, of the highlighted method
    labels = [text.get_text() for text in saudi.texts]
    assert labels == ["Adam  8.0", "DE|x  12.0", "broken  failed"]


def test_at_most_six_methods_are_highlighted(figures: list[Figure]):
    plot_curves(many_runs(), BUDGET, "title", None, Path("unused"))
    assert [len(axes.collections) for axes in figures[0].axes] == [6, 6]


@BOTH
@pytest.mark.parametrize("end", [0.0, 1e-30, math.inf])
def test_losses_without_a_place_on_the_axis_leave_the_others_readable(
    tmp_path: Path, figures: list[Figure], plot, end: float
):
    first = (end,) if end == math.inf else (60.0, end)
    runs = [make_run(*first, method="odd"), make_run(60.0, 7.0, method="even")]
    plot(runs, BUDGET, "title", None, tmp_path / "plot")
    (axes,) = figures[0].axes
    low, high = axes.get_xlim() if plot is plot_finals else axes.get_ylim()
    assert 1 < low < 7
    assert 80 < high < 200
    said = any("or less" in text.get_text() for text in figures[0].texts)
    assert said == (end < 1)


@BOTH
def test_one_run_of_one_point_is_drawn(tmp_path: Path, plot):
    plot([make_run(80.0)], BUDGET, "the title", "the notice", tmp_path / "plot")
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
        runs = read_runs(Path(sys.argv[1]))
        plot_curves(runs, 100, "t", "n", Path(sys.argv[2]) / "curves")
        plot_finals(runs, 100, "t", "n", Path(sys.argv[2]) / "finals")
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
