"""How long a command takes until it can begin, part by part."""

import time

import jaxalign


class StartUp:
    """A clock that gives the time since the last part's end to the next part.

    Args:
      of_command: begin with the import of the package, which is the first that `python -m` does,
        and call the time since then `imports`; otherwise begin now.
    """

    def __init__(self, of_command: bool = False):
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()
        if of_command:
            self._last = jaxalign.IMPORTED
            self.end("imports")

    def end(self, part: str) -> None:
        """End a part."""
        now = time.perf_counter()
        self.seconds[part] = now - self._last
        self._last = now

    def __str__(self) -> str:
        parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in self.seconds.items())
        return f"{sum(self.seconds.values()):.1f} s: {parts}"
