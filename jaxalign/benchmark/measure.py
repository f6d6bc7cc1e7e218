"""The figures of one setting: its generation's parts, timed beside a product that sets the ceiling.

Everything is measured in one process, in rounds that take each part in turn, so that other load on
the machine falls on all of them; the figures are medians over the rounds. The letters are those of
the whole package: P candidates, L prompt rows, T trie tokens.
"""

import resource
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from jaxalign.benchmark.ceiling import Ceiling
from jaxalign.benchmark.clock import Stopwatch, timed
from jaxalign.benchmark.compiling import STEP, compile_seconds, empty_cache, step_from_cache
from jaxalign.benchmark.counts import counted_flop, linear_parameters
from jaxalign.benchmark.duel import duel
from jaxalign.benchmark.parts import Parts, peak_bytes
from jaxalign.benchmark.peer import Peer
from jaxalign.benchmark.trace import write_trace
from jaxalign.model import parameter_bytes, parameter_count
from jaxalign.model.cost import candidate_flop, shared_flop
from jaxalign.problem import Problem
from jaxalign.run.engine import Engine, build_engine, choose_execution
from jaxalign.run.initialization import initialize
from jaxalign.settings import Settings


def measure(
    settings: Settings,
    problem: Problem,
    repeats: int,
    folder: Path,
    peer: Peer | None = None,
    trace: Path | None = None,
) -> dict[str, Any]:
    """Time generations and their parts.

    In `seconds`, a generation is `evaluate` + `ask_tell` + `rest`. The rest is a difference of
    medians, so noise can make it negative. Beside a generation, a run has `checkpoint`, one save
    until it is durable, which it overlaps with the next generation, and `host`: calling the step,
    fetching its metrics, and writing and showing them. `overhead_share` is ask and tell, checkpoint
    and host as a share of the generation.

    `share_of_ceiling` is tokens per second × `flop_per_token` ÷ the rate of a large square product
    of the same type and precision, and `flop_per_token` is 2 × `linear_parameters`. Attention is
    not counted in it, so long tries leave a share below what the device does; and the rows that the
    last layer passes over are not subtracted, which flatters a model of few layers.
    `share_by_operations` counts both, by the formulas of `jaxalign.model.cost`, which
    `flop_per_candidate` holds beside XLA's count for one candidate alone.

    Args:
      settings: of the run.
      problem: what is asked of which model.
      repeats: rounds to time, after one that warms up.
      folder: where checkpoints may be written; on the disk whose speed matters. Made if missing.
      peer: timed on the same population, in turns; None for no such thing.
      trace: folder for a profile; None for none.

    Returns:
      Plain values, as JSON holds them. Times are in seconds, memory in bytes, and null is what the
      platform does not report it.

    Raises:
      UserError: the settings do not fit each other, or the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    loaded_peak = peak_bytes()
    with empty_cache(folder / "cache"):
        plan = initialize(settings, problem)
        execution, choosing = timed(choose_execution, settings.evaluation, problem, plan)
        with compile_seconds() as compiled:
            engine, building = timed(build_engine, problem, plan, execution)
        cached = step_from_cache(problem, engine)
    watch, ceiling = Stopwatch(), Ceiling(jnp.dtype(settings.model.dtype))
    beside: dict[str, Any] = {}
    with Parts(settings, problem, engine, folder) as parts:
        for number in range(1 + repeats):
            parts.run(number, watch)
            with watch("product"):
                ceiling()
        if trace is not None:
            files = write_trace(parts, trace, first=1 + repeats)
            beside["trace"] = [str(path) for path in files]
        if peer is not None:
            beside["peer"] = duel(peer, settings, problem, parts, repeats)
        resumes = parts.resumes()
    seconds = watch.medians()
    rate = ceiling.flop / seconds.pop("product")
    weights_bytes = parameter_bytes(problem.weights)
    return {
        **_sizes(settings, problem, engine),
        "repeats": repeats,
        "seconds": seconds
        | {"rest": seconds["generation"] - seconds["evaluate"] - seconds["ask_tell"]},
        "generation_seconds": watch.taken["generation"][1:],
        "overhead_share": (seconds["ask_tell"] + seconds["checkpoint"] + seconds["host"])
        / seconds["generation"],
        **_rates(settings, problem, engine, seconds["generation"], rate),
        "ceiling": {"rows": ceiling.rows, "flop_per_second": rate},
        "memory": {
            "weights": weights_bytes,
            "working": engine.working_bytes,
            "predicted": weights_bytes + engine.working_bytes,
            "peak": parts.peak,
            "peak_after_loading": loaded_peak,
            "process": _resident_peak(),
        },
        "compile_seconds": {
            "step": compiled.get(STEP),
            "step_from_cache": cached,
            "engine": building,
            "chunk": choosing,
        },
        "resume_identical": resumes,
        **beside,
    }


def _sizes(settings: Settings, problem: Problem, engine: Engine) -> dict[str, Any]:
    """Return the measurements."""
    trie = problem.questions.trie
    return {
        "dtype": settings.model.dtype,
        "parameters": parameter_count(problem.weights),
        "attention": settings.evaluation.attention,
        "population": settings.search.population,
        "candidates": engine.plan.candidates,
        "prompt_length": settings.prompt.length,
        "trie_tokens": trie.size,
        "questions": len(trie.answer_nodes_Q),
        "chunk": engine.chunk,
        "tokens": engine.plan.candidates * engine.tokens_each,
        "saving": trie.saving(settings.prompt.length),
    }


def _rates(
    settings: Settings,
    problem: Problem,
    engine: Engine,
    seconds: float,
    ceiling: float,
) -> dict[str, Any]:
    """Return rates of a generation: candidates and tokens per second, share of the ceiling."""
    length = settings.prompt.length
    model, layout = problem.model_config, problem.task.layout
    attention = settings.evaluation.attention
    flop = candidate_flop(model, length, layout.tree, len(layout.answer_nodes_Q))
    shared = shared_flop(model, layout.tree)
    tokens_per_second = engine.plan.candidates * engine.tokens_each / seconds
    flop_per_token = 2 * linear_parameters(problem.weights)
    return {
        "candidates_per_second": engine.plan.candidates / seconds,
        "tokens_per_second": tokens_per_second,
        "flop_per_token": flop_per_token,
        "share_of_ceiling": tokens_per_second * flop_per_token / ceiling,
        "flop_per_candidate": {
            "formula": flop,
            "shared": shared,
            "xla": counted_flop(model, settings.model.dtype, layout, length, attention),
        },
        "share_by_operations": (engine.plan.candidates * flop + shared) / seconds / ceiling,
    }


def _resident_peak() -> int:
    """Return the process's peak of host memory in bytes, arrays and all else."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
