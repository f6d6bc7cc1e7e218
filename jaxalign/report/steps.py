"""The progress of any phase that may take longer than a few seconds."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from jaxalign.report.numbers import format_seconds

FIRST, BETWEEN = 5.0, 30.0  # seconds, to the first plain line and from one to the next


class Steps:
    """Shows how far a phase is: a bar in a terminal, a line now and then anywhere else.

    A phase that ends within five seconds shows no line. Used as a context manager.

    Args:
      label: what is being done.
      total: number of steps.
      console: where to print; standard output by default.
      clock: seconds from any origin, for tests.
    """

    def __init__(
        self,
        label: str,
        total: int,
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._label, self._total, self._clock = label, total, clock
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._begun = clock()
        self._next = self._begun + FIRST
        self._bar = RichProgress(
            TextColumn(label),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=total, state="")

    def __enter__(self) -> "Steps":
        """Start the bar."""
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._bar.start()
        return self

    def update(self, done: int, state: str = "") -> None:
        """Show that so many steps are done, and what else there is to say."""
        self._bar.update(self._task, completed=done, state=state)
        now = self._clock()
        if self._bar.live.is_started or now < self._next or done >= self._total:
            return
        self._next = now + BETWEEN
        left = (now - self._begun) * (self._total - done) / done if done else 0.0
        parts = [f"{self._label} {done}/{self._total}", state]
        parts += [f"{format_seconds(left)} left"] if left else []
        self._console.print("  ".join(filter(None, parts)), markup=False)
        self._console.file.flush()

    def __exit__(self, *error: object) -> None:
        """Take the bar off the screen."""
        if self._bar.live.is_started:
            self._bar.stop()
