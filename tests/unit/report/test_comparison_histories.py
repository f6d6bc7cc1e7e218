"""The histories of a comparison."""

import csv
import math
from pathlib import Path

import pytest
from comparison_runs import RUNS, make_run, write

from jaxalign.errors import UserError
from jaxalign.report.comparison import (
    Run,
    append_run,
    read_runs,
)


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


def test_runs_are_added_one_by_one_and_nothing_else_is_left(tmp_path: Path):
    """Each state of the file is whole: it is replaced, never written into."""
    whole = write(tmp_path / "whole.csv")
    path = tmp_path / "runs" / "histories.csv"
    for count, run in enumerate(RUNS, start=1):
        append_run(path, run)
        assert read_runs(path) == RUNS[:count]
    assert path.read_bytes() == whole
    assert list(path.parent.iterdir()) == [path]


def test_a_run_is_written_once(tmp_path: Path):
    before = write(tmp_path / "histories.csv")
    with pytest.raises(UserError, match="already holds DE, SA, seed 0"):
        append_run(tmp_path / "histories.csv", make_run(1.0))
    assert (tmp_path / "histories.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lines: [b"generation,loss", *lines[1:]], "line 1 is not method,kind"),
        (lambda lines: [*lines[:1], *lines[2:]], "line 2: the points of this run"),
        (lambda lines: [*lines[:2], *lines[3:]], "line 2: the points of this run"),
        (lambda lines: lines[:-2], "line 4: the points of this run"),
        (lambda lines: [*lines, *lines[1:3]], "line 8: DE, SA, seed 0 is there twice"),
        (lambda lines: [*lines[:3], b"x", *lines[3:]], "line 4: not 11 fields"),
        (lambda lines: [lines[0], b"", *lines[1:]], "line 2: not 11 fields"),
        (lambda lines: [*lines[:3], b"\xff\xfe", *lines[3:]], "cannot be read"),
        (lambda lines: [line.replace(b"ours", b"mine") for line in lines], "line 2: kind 'mine'"),
        (lambda lines: [line.replace(b"80.0", b"eighty") for line in lines], "line 2: .*'eighty'"),
    ],
)
def test_damage_is_reported_with_its_line(tmp_path: Path, spoil, message: str):
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
