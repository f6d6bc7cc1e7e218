"""A profile of generations, for TensorBoard or Perfetto."""

from pathlib import Path

import jax

from jaxalign.benchmark.parts import Parts
from jaxalign.devices.profiling import trace

ROUNDS = 2


def write_trace(parts: Parts, folder: Path, first: int) -> list[Path]:
    """Profiles two rounds of the parts, which bear their names in the trace.

    The host's rows show `generation`, `checkpoint`, `evaluate`, `ask_tell` and `host`; inside a
    generation the compiled operations bear the scopes `ask`, `evaluate` and `tell`.

    Args:
      parts: warmed up.
      folder: given to `tensorboard --logdir`; the file that ui.perfetto.dev opens lies in it too.
      first: number of the first round, above those that were run.

    Returns:
      The files.
    """
    with trace(folder):
        for number in range(first, first + ROUNDS):
            with jax.profiler.StepTraceAnnotation("round", step_num=number):
                parts.run(number, jax.profiler.TraceAnnotation)
    return sorted(path for path in folder.rglob("*") if path.is_file())
