"""What a generation costs: its parts timed beside a matrix product that sets the ceiling.

Everything is measured in one process, in rounds that take each part in turn, so that other load on
the machine falls on all of them; the figures are medians over the rounds. The letters are those of
the whole package: P candidates, L prompt rows, T trie tokens, C dimensions.
"""

import contextlib
import dataclasses
import functools
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import config_dict

from jaxalign.checkpoint import Checkpoints
from jaxalign.engine import Engine, build_engine, make_objective, resolve_settings
from jaxalign.evolve import Evolution, RunState
from jaxalign.fitness import evaluate
from jaxalign.model import parameter_bytes, parameter_count
from jaxalign.model.abstract import named_leaves
from jaxalign.model.attention import matmul_precision
from jaxalign.objective import Evaluation, Task
from jaxalign.problem import Problem

_CPU_PRODUCT = (2048, 1)  # rows of the ceiling's matrices, products in a row
_ACCELERATOR_PRODUCT = (8192, 10)  # several, so that no launch is waited for


def linear_parameters(weights: Any) -> int:
    """Counts the blocks' matrices; embedding, head, norms and biases are left out."""
    return sum(
        math.prod(leaf.shape)
        for name, leaf in named_leaves(weights).items()
        if name.startswith("block.") and len(leaf.shape) == 3
    )


def measure(
    config: config_dict.ConfigDict, problem: Problem, repeats: int, folder: Path
) -> dict[str, Any]:
    """Times generations and their parts.

    `flop_per_token` is 2 × `linear_parameters`. Attention is not counted in it, so long tries
    leave a share below what the device does; and the rows that the last layer passes over are not
    subtracted, which flatters a model of few layers. `share_of_ceiling` is tokens per second ×
    `flop_per_token` ÷ the rate of a large square product of the same type and precision.

    In `seconds`, a generation is `evaluate` + `ask_tell` + `rest`. The rest is a difference of
    medians, so noise can make it negative. `checkpoint` is one save until it is durable, which a
    run overlaps with the next generation. `overhead_share` is all but the evaluation, with the
    checkpoint, as a share of the generation.

    Args:
      config: validated.
      problem: what is asked of which model.
      repeats: rounds to time, after one that warms up.
      folder: where checkpoints may be written; on the disk whose speed matters.

    Returns:
      Plain values, as JSON holds them. Times are in seconds, memory in bytes, and null is what the
      platform does not tell.

    Raises:
      UserError: the settings do not fit each other, or the folder cannot be written.
    """
    loaded_peak = _peak_bytes()
    settings, choosing = _timed(resolve_settings, config, problem)
    with _compile_times() as compiled:
        engine, building = _timed(build_engine, config, problem, settings)
    rounds = _run_rounds(config, problem, engine, repeats, folder)
    median = {part: statistics.median(taken[1:]) for part, taken in rounds.taken.items()}
    rest = median["generation"] - median["evaluate"] - median["ask_tell"]
    overhead = median["ask_tell"] + median["checkpoint"] + rest

    population, length = config.search.population, config.prompt.length
    trie = problem.questions.trie
    tokens = engine.candidates * engine.tokens_each
    tokens_per_second = tokens / median["generation"]
    flop_per_token = 2 * linear_parameters(problem.weights)
    rows, products = _product_size()
    ceiling = products * 2 * rows**3 / median["product"]
    weights_bytes = parameter_bytes(problem.weights)
    return {
        "dtype": config.model.dtype,
        "parameters": parameter_count(problem.weights),
        "attention": make_objective(config, engine.chunk).attention,
        "population": population,
        "prompt_length": length,
        "trie_tokens": trie.size,
        "questions": len(trie.answer_nodes_Q),
        "chunk": engine.chunk,
        "tokens": tokens,
        "saving": trie.saving(length),
        "repeats": repeats,
        "seconds": {
            "generation": median["generation"],
            "evaluate": median["evaluate"],
            "ask_tell": median["ask_tell"],
            "rest": rest,
            "checkpoint": median["checkpoint"],
        },
        "generation_seconds": rounds.taken["generation"][1:],
        "overhead_share": overhead / median["generation"],
        "candidates_per_second": engine.candidates / median["generation"],
        "tokens_per_second": tokens_per_second,
        "flop_per_token": flop_per_token,
        "ceiling": {"rows": rows, "flop_per_second": ceiling},
        "share_of_ceiling": tokens_per_second * flop_per_token / ceiling,
        "memory": {
            "weights": weights_bytes,
            "working": engine.working_bytes,
            "predicted": weights_bytes + engine.working_bytes,
            "peak": rounds.peak,
            "peak_after_loading": loaded_peak,
        },
        "compile_seconds": {
            "step": compiled.get("jit(step)"),
            "engine": building,
            "chunk": choosing,
            "persistent_cache": jax.config.jax_compilation_cache_dir is not None,
        },
        "resume_identical": rounds.resume_identical,
    }


@dataclasses.dataclass(frozen=True)
class _Rounds:
    """What the rounds gave: seconds by part, the first round's included, and what else was seen."""

    taken: dict[str, list[float]]
    peak: int | None
    resume_identical: bool


def _run_rounds(
    config: config_dict.ConfigDict,
    problem: Problem,
    engine: Engine,
    repeats: int,
    folder: Path,
) -> _Rounds:
    """Takes every part in turn, `repeats` times after a round that compiles and warms up."""
    # Memory is read before anything is there that a search does not have.
    make_first = engine.compile_start()
    first, _ = make_first()
    jax.block_until_ready(engine.step(first))
    peak = _peak_bytes()
    first, _ = make_first()

    key = jax.random.key(config.seed)
    task, beginning = engine.task, engine.beginning
    space, vectors_E = beginning.space, beginning.vectors_E
    prompts_ELD = jax.jit(space.prompts)(vectors_E)
    evaluate_alone = jax.jit(
        functools.partial(evaluate, problem.graphdef, make_objective(config, engine.chunk))
    )
    search_alone = _search_alone(problem, engine)
    params = beginning.strategy.params
    searched, _ = jax.jit(search_alone.start)(None, task, space, params, vectors_E, key)
    search_step = jax.jit(search_alone.step, donate_argnums=3)
    multiply = _product(jnp.dtype(config.model.dtype))
    checkpoints = Checkpoints(folder / "checkpoints", every=1, keep=0)

    def save(number: int, state: RunState) -> None:
        checkpoints.save(number, state)
        checkpoints.wait()

    taken: dict[str, list[float]] = defaultdict(list)

    def timed(part: str, function: Callable[..., Any], *arguments: Any) -> Any:
        result, seconds = _timed(function, *arguments)
        taken[part].append(seconds)
        return result

    # Every round makes the first generation: L-SHADE evaluates fewer candidates in later ones.
    for number in range(1 + repeats):
        state, _ = timed("generation", engine.step, _copy(first))
        timed("checkpoint", save, number, state)
        timed("evaluate", evaluate_alone, problem.weights, task, prompts_ELD, key)
        timed("ask_tell", search_step, None, task, space, _copy(searched))
        timed("product", multiply)

    restored = checkpoints.restore(engine.abstract_state)
    assert restored is not None
    kept, again = (_content(engine.step(each)[0]) for each in (state, restored))
    checkpoints.close()
    return _Rounds(taken, peak, kept == again)


def _search_alone(problem: Problem, engine: Engine) -> Evolution:
    """The engine's evolution without the model: a loss is one coordinate of its candidate."""
    countries = len(problem.targets)
    dimensions = len(problem.instrument.dimensions)

    def free(_: Any, task: Task, prompts_ELD: jax.Array, *__: jax.Array) -> Evaluation:
        candidates = prompts_ELD.shape[0]
        loss_GE = jnp.broadcast_to(jnp.abs(prompts_ELD[:, 0, 0]), (countries, candidates))
        return Evaluation(
            loss_GE,
            jnp.zeros((candidates, dimensions)),
            jnp.zeros((candidates, *task.answer_ids_QA.shape)),
            jnp.broadcast_to(loss_GE[..., None], (*loss_GE.shape, len(task.terms))),
        )

    return dataclasses.replace(engine.evolution, evaluate=free)


def _product(dtype: jnp.dtype) -> Callable[[], list[jax.Array]]:
    """Large products of random matrices, at the precision of the model's own linear layers."""
    rows, products = _product_size()
    left, right = (
        jax.random.normal(key, (rows, rows), dtype) for key in jax.random.split(jax.random.key(0))
    )
    multiply = jax.jit(functools.partial(jnp.matmul, precision=matmul_precision(dtype)))
    return lambda: [multiply(left, right) for _ in range(products)]


def _product_size() -> tuple[int, int]:
    return _CPU_PRODUCT if jax.devices()[0].platform == "cpu" else _ACCELERATOR_PRODUCT


def _timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """The result, once the device has it, and the seconds that took."""
    begun = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return result, time.perf_counter() - begun


@contextlib.contextmanager
def _compile_times() -> Iterator[dict[str, float]]:
    """Seconds of lowering and compiling by function, of what is compiled inside; no tracing."""
    seconds: dict[str, float] = defaultdict(float)

    def listen(event: str, duration: float, **about: Any) -> None:
        if event in _COMPILING and "fun_name" in about:
            seconds[about["fun_name"]] += duration

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seconds
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


_COMPILING = (
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


def _peak_bytes() -> int | None:
    """The most that the process has held on the device so far; None where it does not tell."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def _copy(state: RunState) -> RunState:
    """The same state in memory of its own, for a step that donates it."""
    return jax.block_until_ready(jax.tree.map(jnp.copy, state))


def _content(state: RunState) -> list[bytes]:
    """The bytes of every leaf."""

    def raw(leaf: jax.Array) -> jax.Array:
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.random.key_data(leaf) if is_key else leaf

    return [leaf.tobytes() for leaf in jax.device_get(jax.tree.leaves(jax.tree.map(raw, state)))]
