"""The progress of a phase: silent if short, a line now and then if long, a bar in a terminal."""

import io

import pytest
from rich.console import Console

from jaxalign.report import Steps


def shown(seconds, terminal=False, steps=20):
    """Return what a phase of so many steps prints, each of so many seconds."""
    now = 0.0
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=80)
    with Steps("searches", steps, console=console, clock=lambda: now) as phase:
        for done in range(1, steps + 1):
            now += seconds
            phase.update(done, "best 3.0")
    return file.getvalue()


def test_a_short_phase_says_nothing():
    assert shown(0.2) == ""


def test_a_long_phase_says_how_long_it_will_be():
    lines = shown(6.0).splitlines()
    assert lines[0] == "searches 1/20  best 3.0  1:54 left"
    assert lines[1:] == [
        "searches 6/20  best 3.0  1:24 left",
        "searches 11/20  best 3.0  0:54 left",
        "searches 16/20  best 3.0  0:24 left",
    ]


def test_a_terminal_gets_a_bar():
    assert "20/20" in shown(0.1, terminal=True) and "left" not in shown(0.1, terminal=True)


@pytest.mark.parametrize("terminal", [False, True])
def test_an_error_passes_through(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal)
    with pytest.raises(KeyError), Steps("searches", 3, console=console):
        raise KeyError
