"""Seconds of work, counted until the device has the result."""

import contextlib
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import jax


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Return the result, once the device has it, and the seconds that took."""
    begun = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return result, time.perf_counter() - begun


class Stopwatch:
    """Collects seconds under names; the work inside has to block by itself.

    Attributes:
      taken: seconds by name, in the order they were taken.
    """

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = defaultdict(list)

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the seconds that pass inside to those of `name`."""
        begun = time.perf_counter()
        yield
        self.taken[name].append(time.perf_counter() - begun)

    def medians(self, warm_up: int = 1) -> dict[str, float]:
        """Return the median of each name's seconds, without the first ones, which warmed up."""
        return {name: statistics.median(taken[warm_up:]) for name, taken in self.taken.items()}
