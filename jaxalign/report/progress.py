"""The progress of a search: a bar in a terminal, about twenty plain lines anywhere else."""

import math
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress

from jaxalign.report.numbers import format_loss, format_seconds

PLAIN_LINES = 20
RATE_WINDOW = (
    16  # generations that the rate is taken over: steady, yet the compile is soon forgotten
)


class Progress:
    """Shows one line of state per generation on standard output, as a context manager.

    Args:
        generations: the last generation's number. Generation 0 is the initial population.
        start: the generation that a resumed run starts from, 0 for a new run.
        console: where to print; standard output by default.
        clock: seconds from any origin, for tests.
    """

    def __init__(
        self,
        generations: int,
        start: int = 0,
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._generations = generations
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._clock = clock
        self._first: int | None = None
        self._last = start
        self._stride = max(1, math.ceil((generations - start) / PLAIN_LINES))
        # Generation, seconds, and evaluations of what the rate is taken over.
        self._marks: deque[tuple[int, float, int | None]] = deque(maxlen=RATE_WINDOW + 1)
        self._pending: str | None = None
        self._bar: RichProgress | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._bar = RichProgress(
                TextColumn("generation {task.completed:.0f}/{task.total:.0f}"),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[state]}"),
                console=self._console,
                refresh_per_second=4,
                expand=True,
            )
            self._task = self._bar.add_task("", total=generations, completed=start, state="")

    def __enter__(self) -> "Progress":
        """Starts the clock and the bar."""
        self._marks.append((self._last, self._clock(), None))
        if self._bar:
            self._bar.start()
        return self

    def update(self, record: dict[str, Any]) -> None:
        """Shows one record of metrics.jsonl, in the order of the generations."""
        generation = int(record["generation"])
        self._last = generation
        if self._marks and (self._marks[-1][0] == generation or self._marks[-1][2] is None):
            self._marks.pop()  # the initial population: compiling it says nothing about the rest
        self._marks.append((generation, self._clock(), int(record["evaluations"])))
        if self._bar:
            self._bar.update(
                self._task, completed=generation, state=self._state(record, mean=False)
            )
            return
        line = f"generation {generation}/{self._generations}  {self._state(record, mean=True)}"
        if self._first is None:
            self._first = generation
            self._print(line)
        elif generation % self._stride == 0 or generation == self._generations:
            self._print(line)
        else:
            self._pending = line

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leaves the last state standing, also when the run ends early."""
        if self._bar:
            self._bar.stop()
        elif self._pending:
            self._print(self._pending)

    def _print(self, line: str) -> None:
        self._pending = None
        self._console.print(line, markup=False)
        self._console.file.flush()

    def _state(self, record: dict[str, Any], *, mean: bool) -> str:
        parts = [f"best {format_loss(record['best_loss'])}"]
        if mean:
            parts.append(f"mean {format_loss(record['generation_mean'])}")
        if record.get("failed"):
            parts.append(f"{record['failed']} failed")
        (first, start, before), (last, now, after) = self._marks[0], self._marks[-1]
        if last > first and now > start and before is not None and after is not None:
            per_generation = (now - start) / (last - first)
            parts.append(f"{(after - before) / (now - start):,.0f} candidates/s")
            left = per_generation * (self._generations - self._last)
            parts.append(f"{format_seconds(left)} left")
        return "  ".join(parts)
