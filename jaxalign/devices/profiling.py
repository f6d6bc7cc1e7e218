"""Profiles of what runs on the device, for TensorBoard and Perfetto."""

import contextlib
import logging
import re
from pathlib import Path
from typing import Any

import jax

from jaxalign.errors import UserError


def trace(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Profiles what is run inside.

    Args:
      folder: given to `tensorboard --logdir`; the file that ui.perfetto.dev opens lies in it too.
    """
    logging.getLogger("jax._src.profiler").setLevel(logging.WARNING)  # it logs each file
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # every call of every function would hide the parts
    return jax.profiler.trace(str(folder), create_perfetto_trace=True, profiler_options=options)


class Profile:
    """Profiles a search from generation START to generation STOP; a context manager around it.

    Args:
      bounds: generations START and STOP, whose steps START + 1 to STOP are in the trace; None for
        no profile.
      folder: for the trace.
    """

    def __init__(self, bounds: tuple[int, int] | None, folder: Path):
        self._bounds = bounds
        self._folder = folder
        self._trace = contextlib.ExitStack()
        self._step = contextlib.ExitStack()
        self._traces = False

    def __enter__(self) -> "Profile":
        """Enter the context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write the trace of a search that ends before STOP, or at it."""
        self._step.close()
        self._trace.close()

    def reached(self, generation: int, state: Any) -> None:
        """Begin or end the trace at its generations.

        Args:
          generation: the newest one.
          state: of it, waited for where the trace begins or ends.
        """
        if self._bounds is None:
            return
        start, stop = self._bounds
        self._step.close()
        within = start <= generation < stop  # a run may be resumed in between
        if within != self._traces:
            jax.block_until_ready(state)
            self._traces = within
            if within:
                self._trace.enter_context(trace(self._folder))
            else:
                self._trace.close()
        if within:
            name = jax.profiler.StepTraceAnnotation("generation", step_num=generation + 1)
            self._step.enter_context(name)


def parse_bounds(text: str | None, generations: int) -> tuple[int, int] | None:
    """START and STOP of `START:STOP`; None of None.

    Args:
      text: as typed.
      generations: the last generation's number.

    Raises:
      UserError: it is not two generations of the run, the first before the second.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if match is None or not int(match[1]) < int(match[2]) <= generations:
        raise UserError(
            f"--profile={text}: give START:STOP, two generations of which the first comes before "
            f"the second and none after {generations}, such as --profile=0:1"
        )
    return int(match[1]), int(match[2])
