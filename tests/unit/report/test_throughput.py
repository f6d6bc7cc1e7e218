"""Settings side by side: growth against the smallest, a tidy CSV, and a plot that shows them."""

import copy
import csv
import io
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import pytest
from rich.console import Console

from jaxalign.report import drawing
from jaxalign.report.drawing import Sheet
from jaxalign.report.throughput import (
    plot_scaling,
    point_line,
    print_points,
    rows,
    write_points_csv,
)
from jaxalign.report.throughput.points import growth

FIGURES = {
    "command": "python -m jaxalign.benchmark", "date": "2026-01-01T00:00:00+00:00", "load": 0.5,
    "swept": {}, "hardware": "2 cores", "versions": {"jax": "0.10.2"}, "model": "small",
    "notice": None, "dtype": "float32", "parameters": 1000, "attention": "xla", "population": 4,
    "candidates": 4, "prompt_length": 3, "trie_tokens": 97, "questions": 24, "chunk": 2,
    "tokens": 400, "saving": 3.5, "repeats": 2, "generation_seconds": [0.4, 0.6],
    "seconds": {"generation": 0.5, "evaluate": 0.4, "ask_tell": 0.06, "rest": 0.04,
                "checkpoint": 0.02, "host": 0.01},
    "overhead_share": 0.18, "candidates_per_second": 8.0, "tokens_per_second": 800.0,
    "flop_per_token": 2_000_000_000, "share_of_ceiling": 0.25, "share_by_operations": 0.2,
    "flop_per_candidate": {"formula": 8e9, "shared": 1e9, "xla": 9.1e9},
    "ceiling": {"rows": 2048, "flop_per_second": 4e11},
    "memory": {"weights": 2**20, "working": 2**22, "predicted": 5 * 2**20, "peak": None,
               "process": 2**30},
    "compile_seconds": {"step": 4.0, "step_from_cache": 0.5, "engine": 6.0, "chunk": 1.0},
    "resume_identical": True,
}  # fmt: skip
PEER = {
    "name": "transformers", "device": "cpu", "threads": 2, "batch": 4,
    "tried": {"1": 0.5, "4": 1.0}, "seconds": 4.0, "candidates_per_second": 1.0,
    "ours_seconds": 0.5, "ours_candidates_per_second": 8.0, "ratio": 8.0, "ratio_least": 7.5,
    "ratio_most": 8.5, "alternated": True,
    "losses": {"largest_difference": 2e-6, "allowed": 1e-4, "equal": True},
}  # fmt: skip


def setting(population: int, seconds: float, **others: object) -> dict:
    """Figures of a population that took so long."""
    figures = copy.deepcopy(FIGURES)
    figures |= {"candidates": population, "candidates_per_second": population / seconds, **others}
    figures["seconds"]["generation"] = seconds
    figures["swept"] = {"search.population": population, "evaluation.chunk": figures["chunk"]}
    return figures


@pytest.fixture
def points() -> list[dict]:
    """A linear chunk, one that grows, and a setting that could not be run; largest first."""
    broken = {"swept": {"search.population": 8, "evaluation.chunk": 4}, "error": "no memory"}
    return [
        setting(64, 8.0, chunk=1),
        setting(4, 0.5, chunk=1, peer=PEER),
        setting(64, 16.0, chunk=2),
        setting(4, 0.5, chunk=2),
        FIGURES | broken,
    ]


def printed(*arguments, width: int = 200) -> str:
    out = io.StringIO()
    print_points(*arguments, console=Console(file=out, width=width, highlight=False))
    return out.getvalue()


def test_growth_is_held_against_the_smallest_that_is_otherwise_equal(points):
    assert [growth(point, points) for point in points] == [1, 1, 2, 1, None]
    assert growth(FIGURES, [FIGURES]) is None


def test_the_csv_has_a_row_a_setting(points, tmp_path):
    write_points_csv(points, tmp_path / "benchmark.csv")
    with (tmp_path / "benchmark.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["search.population"] for row in table] == ["64", "4", "64", "4", "8"]
    assert [row["growth"] for row in table] == ["1.0", "1.0", "2.0", "1.0", ""]
    assert [row["ratio_to_peer"] for row in table] == ["", "8.0", "", "", ""]
    assert table[2]["generation_seconds"] == "16.0" and table[2]["working_bytes"] == str(2**22)
    assert table[4]["error"] == "no memory" and table[0]["peak_bytes"] == ""
    assert all(row["jax"] == "0.10.2" and row["hardware"] == "2 cores" for row in table)


def test_the_table_shows_what_was_measured_and_what_was_not(points):
    text = printed([each if "error" in each else each | {"peer": PEER} for each in points])
    lines = [line.split() for line in text.splitlines()]
    assert ["64", "2", "4", "16", "2.00", "25.0%"] in [line[:6] for line in lines]
    assert ["8", "4", "not", "measured"] in lines
    assert "8.00 (7.50 to 8.50)" in text and "equal, at most 2.0e-06 apart" in text
    assert "/s" in text and "ratio" in text.split() and "working" in text
    text = printed(points[2:], width=80)  # in a file, figures are not cut to a terminal's width
    assert "ratio" not in text.split() and "growth" in text and "generation" in text
    assert "peak" not in text and "chunk" in text
    alone = copy.deepcopy(FIGURES) | {"swept": {"evaluation.chunk": 2}}
    assert "growth" not in printed([alone])


def test_a_line_as_soon_as_it_is_there(points):
    line = point_line(2, 5, points[1])
    assert line.startswith("2/5  population=4 chunk=1  8 candidates/s, 0.5 s, 25.0% of the ceiling")
    assert line.endswith("8.00 x peer")
    assert point_line(5, 5, points[4]).endswith("not measured: no memory")


@pytest.mark.parametrize(
    ("equal", "words"),
    [(True, "equal, at most 2.0e-06"), (False, "DIFFER by 2.0e-06, allowed"), (None, "e-06 apart")],
)
def test_the_rows_of_one_setting(equal, words):
    peer = PEER | {"losses": PEER["losses"] | {"equal": equal}}
    table = rows(FIGURES | {"peer": peer})
    assert words in table["losses"]
    infinite = PEER["losses"] | {"largest_difference": None, "equal": False}
    assert rows(FIGURES | {"peer": PEER | {"losses": infinite}})["losses"] == "NOT FINITE"
    assert table["ratio"] == "8.00 times the peer (7.50 to 8.50), sides in turns"
    assert (
        "4 candidates in a batch (candidates/s by batch: 1: 0.5, 4: 1)"
        in (table["peer transformers"])
    )
    assert table["compiling"].startswith("4.0 s the step, 0.5 s from the cache")
    assert table["host"] == "0.01 s, 2.00%"
    assert "8 GFLOP per candidate and 1 for all by formula" in table["operations"]
    assert "XLA counts 1.011 of it" in table["operations"]
    assert "peak 1,024 MiB of the whole process" in table["memory"]
    assert not rows(FIGURES).keys() & {"ratio", "losses"}


@pytest.fixture
def figure(monkeypatch):
    """Draws settings without writing them."""

    def draw(points):
        saved = []
        monkeypatch.setattr(drawing, "save", lambda each, _: saved.append(each))
        plot_scaling(points, Sheet(Path("unused"), "title", "notice"))
        saved[0].savefig(io.BytesIO(), format="png")
        return saved[0]

    return draw


def test_the_plot_has_a_line_for_each_of_the_other_keys(points, figure):
    rate, seconds = figure(points).axes
    assert [axes.get_xscale() for axes in (rate, seconds)] == ["log", "log"]
    assert seconds.get_yscale() == "log" and seconds.get_xlabel() == "search.population"
    curves = {line.get_label(): line for line in seconds.lines}
    assert list(curves["chunk=1"].get_xdata()) == [4, 64]
    assert list(curves["chunk=1"].get_ydata()) == [0.5, 8]
    assert list(curves["transformers"].get_ydata()) == [4]
    proportional = seconds.lines[-1]
    assert list(proportional.get_ydata()) == [0.5, 8]
    styles = {(line.get_linestyle(), line.get_marker()) for line in rate.lines[:2]}
    assert len(styles) == 2  # told apart without colour
    texts = [text.get_text() for text in rate.get_legend().get_texts()]
    assert texts == ["chunk=1", "transformers", "chunk=2"]


def test_names_stand_side_by_side(figure):
    points = [
        FIGURES | {"swept": {"model.dtype": name}, "candidates_per_second": rate}
        for name, rate in (("float32", 5.0), ("bfloat16", 9.0))
    ]
    rate, _ = figure(points).axes
    assert [tick.get_text() for tick in rate.get_xticklabels()] == ["float32", "bfloat16"]
    assert rate.get_yscale() == "linear" and rate.get_legend() is None


def test_the_plot_is_two_files(points, tmp_path):
    before = dict(matplotlib.rcParams)
    plot_scaling(points, Sheet(tmp_path / "scaling", "small on 2 cores", "random weights"))
    assert (tmp_path / "scaling.png").stat().st_size > 10_000
    ElementTree.parse(tmp_path / "scaling.svg")
    assert "random weights" in (tmp_path / "scaling.svg").read_text()
    assert dict(matplotlib.rcParams) == before and drawing.LINE_STYLES
