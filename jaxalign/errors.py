"""What the user can mend, worded in one line, and commands that are told to stop."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

INTERRUPTED = 130  # exit status, as a shell has it of SIGINT
_PATIENCE = 1.0  # seconds that the main thread has to clean up
_STOPPED = "stopped; the same command goes on from what is saved"


class UserError(Exception):
    """A mistake in what the user gave us, worded in one line.

    The message names the key or file, what is wrong, and what would be right. Commands print it on
    standard error without a traceback and exit with code 2.
    """


class Interrupts:
    """Answers signals at once, also while the main thread compiles or loads.

    Python runs a signal's handler between two steps of the main thread, and compiling is one step
    of half a minute. So a thread of its own reads which signals have come.
    """

    def __init__(self) -> None:
        self.is_watching = False
        self.cleans_up = False  # whether the main thread gets to see a KeyboardInterrupt
        self.on_signal: Callable[[int], bool] | None = None  # returns whether it takes the signal
        self._ending = threading.Lock()

    def watch(self) -> None:
        """Begin; for commands alone, since a program that imports us has its own ways."""
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a script
            return
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, self.pass_on)
        threading.Thread(target=self._read, args=(reading,), daemon=True).start()
        self.is_watching = True

    def pass_on(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal in the main thread: interrupt it, unless somebody takes the signal."""
        if self.on_signal is None and self.cleans_up:
            raise KeyboardInterrupt

    def end(self) -> None:
        """End the process at once, with one line."""
        if self._ending.acquire(blocking=False):
            try:
                print(f"\n{_STOPPED}", file=sys.stderr, flush=True)
            finally:
                os._exit(INTERRUPTED)  # threads that compile would be waited for
        time.sleep(_PATIENCE)  # the other thread is about to

    def _read(self, reading: int) -> None:
        while number := os.read(reading, 1):
            if self.on_signal and self.on_signal(number[0]):
                continue
            if self.cleans_up and not self.on_signal:
                time.sleep(_PATIENCE)
            self.end()


INTERRUPTS = Interrupts()
