"""Progress: about twenty plain lines, first and last always; a bar that fits where there is one."""

import io
import re

import pytest
from fake_run import make_record
from rich.console import Console

from jaxalign.report import Progress


class Clock:
    """A clock that a test moves by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run_plain(generations: int, *, start: int | None = None, stop: int | None = None) -> list[str]:
    """Returns the lines of a run of 8 candidates in .25 s per generation."""
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, width=80, highlight=False, soft_wrap=True)
    first = 0 if start is None else start + 1
    last = generations if stop is None else stop
    with Progress(generations, start or 0, console=console, clock=clock) as progress:
        for generation in range(first, last + 1):
            clock.now += 0.25
            progress.update(make_record(generation))
    return out.getvalue().splitlines()


def numbers_of(lines: list[str]) -> list[int]:
    return [int(re.match(r"generation (\d+)/", line)[1]) for line in lines]


@pytest.mark.parametrize("generations", [1, 2, 7, 20, 21, 80, 1000, 1007])
def test_about_twenty_lines_first_and_last_always(generations: int):
    numbers = numbers_of(run_plain(generations))
    assert numbers[0] == 0
    assert numbers[-1] == generations
    assert numbers == sorted(set(numbers))
    assert len(numbers) <= 23
    assert len(numbers) >= min(generations + 1, 11)


def test_a_line_says_best_mean_rate_and_time_left():
    line = run_plain(40)[-2]
    pattern = r"generation 38/40  best 1\.8  mean 2\.7  32 candidates/s  0:01 left"  # .5 s are left
    assert re.fullmatch(pattern, line), line


def test_the_initial_populations_compile_time_does_not_count():
    out, clock = io.StringIO(), Clock()
    with Progress(40, console=Console(file=out, soft_wrap=True), clock=clock) as progress:
        clock.now += 60
        for generation in range(3):
            progress.update(make_record(generation))
            clock.now += 0.25
    assert "32 candidates/s  0:10 left" in out.getvalue().splitlines()[-1]


def test_a_failed_generation_is_said():
    (line,) = (line for line in run_plain(10) if line.startswith("generation 3/"))
    assert "mean –" in line
    assert "8 failed" in line


def test_a_resumed_run_counts_on():
    lines = run_plain(80, start=40)
    assert numbers_of(lines)[0] == 41
    assert numbers_of(lines)[-1] == 80
    assert "32 candidates/s" in lines[1]  # the rate is of this run, not of the 41 generations


def test_a_run_that_stops_early_leaves_its_last_line():
    assert numbers_of(run_plain(80, stop=33))[-1] == 33


def test_no_update_no_line():
    assert run_plain(80, start=80) == []


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_bar_fits_the_terminal(width: int):
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    with Progress(1000, 1000, console=console, clock=clock) as progress:
        for generation in range(900, 1000):
            clock.now += 0.01
            progress.update(make_record(generation) | {"best_loss": 123.4, "failed": 0})
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    assert all(len(line) <= width for line in lines)
    if width >= 80:
        assert re.match(r"generation +999/1000", lines[-1])
        assert "best 123.4  800 candidates/s" in lines[-1]
