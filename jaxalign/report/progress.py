"""The progress of a search: a bar in a terminal, about twenty plain lines anywhere else."""

import math
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from jaxalign.report.numbers import format_loss, format_seconds

PLAIN_LINES = 20


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
        self._first = True
        self._stride = max(1, math.ceil((generations - start) / PLAIN_LINES))
        self._pending: str | None = None
        self._live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._bar = RichProgress(
            TextColumn("generation"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=self._console,
            refresh_per_second=4,
            # The first sample starts the estimate, so the time of compiling never counts.
            speed_estimate_period=math.inf,
            get_time=clock,
            expand=True,
        )
        self._search = self._bar.add_task("", total=generations, completed=start, state="")
        # Never shown: counts evaluations, for the candidates per second.
        self._candidates = self._bar.add_task("", total=None, visible=False, state="")

    def __enter__(self) -> "Progress":
        """Start the bar."""
        if self._live:
            self._bar.start()
        return self

    def update(self, record: dict[str, Any]) -> None:
        """Show one record of metrics.jsonl, in the order of the generations."""
        generation = int(record["generation"])
        self._bar.update(self._candidates, completed=int(record["evaluations"]))
        self._bar.update(self._search, completed=generation, state=self._state(record))
        if self._live:
            return
        task = self._bar.tasks[self._search]
        left = "" if task.speed is None else f"  {format_seconds(task.time_remaining)} left"
        line = f"generation {generation}/{self._generations}  {task.fields['state']}{left}"
        if self._first or generation % self._stride == 0 or generation == self._generations:
            self._first = False
            self._print(line)
        else:
            self._pending = line

    def __exit__(self, *error: object) -> None:
        """Leave the last state on the screen, also if the run ends early."""
        if self._live:
            self._bar.stop()
        elif self._pending:
            self._print(self._pending)

    def _print(self, line: str) -> None:
        self._pending = None
        self._console.print(line, markup=False)
        self._console.file.flush()

    def _state(self, record: dict[str, Any]) -> str:
        parts = [f"best {format_loss(record['best_loss'])}"]
        if "chosen_loss" in record:
            parts.append(f"chosen by {format_loss(record['chosen_loss'])}")
        if not self._live:
            parts.append(f"mean {format_loss(record['generation_mean'])}")
        if record.get("failed"):
            parts.append(f"{record['failed']} failed")
        if rate := self._bar.tasks[self._candidates].speed:
            parts.append(f"{rate:,.{0 if rate >= 10 else 1}f} candidates/s")
        return "  ".join(parts)
