"""Stopping by request: SIGTERM and SIGINT end a run after a checkpoint."""

import signal
import sys
from types import FrameType
from typing import Any

from jaxalign.devices import distributed
from jaxalign.errors import INTERRUPTS

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Turns the first SIGTERM or SIGINT into a flag; a second one interrupts at once.

    Used as a context manager around work that looks at `received` where it can stop.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        """Handle both signals; with several processes JAX passes SIGTERM on to all of them."""
        if distributed.is_multiprocess():
            return self
        watched = INTERRUPTS.is_watching
        if watched:
            INTERRUPTS.on_signal = self.take
        for number in SIGNALS:
            handler = INTERRUPTS.pass_on if watched else self._take
            self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the handlers of both signals."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        INTERRUPTS.on_signal = None

    def at(self, generation: int) -> bool:
        """Return whether to stop at this generation, the same on all processes."""
        if (
            distributed.is_multiprocess()
            and not self.received
            and distributed.all_stop_at(generation)
        ):
            self.received = "SIGTERM"
        return self.received is not None

    def take(self, number: int) -> bool:
        """Take the first signal, and say so; return whether this was the first."""
        if self.received:
            return False
        self.received = signal.Signals(number).name
        print("stopping after this step; again to stop now", file=sys.stderr, flush=True)
        return True

    def _take(self, number: int, frame: FrameType | None) -> None:
        if not self.take(number):
            raise KeyboardInterrupt
