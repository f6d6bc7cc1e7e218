"""A search, compiled for one problem: what a run repeats, without the files around it."""

import dataclasses
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import config_dict

from jaxalign.devices.distributed import least
from jaxalign.devices.memory import CPU_CHUNK, chunk_budget, is_out_of_memory
from jaxalign.devices.mesh import along_coordinates, copy_everywhere, everywhere, shape_of
from jaxalign.evolve import Evolution, Metrics, RunState
from jaxalign.fitness import choose_chunk, evaluate
from jaxalign.objective import Evaluation, Objective, Task, measure_answers
from jaxalign.problem import Problem
from jaxalign.run.initialization import NAIVE, Beginning, begin

_FRONT = 16  # members of a Pareto front, where several objectives are weighted


@dataclasses.dataclass(frozen=True, eq=False)
class Engine:
    """The compiled steps of a search.

    Attributes:
      evolution: what was compiled.
      beginning: its space and first population.
      task: what is asked, the naive answers included.
      tokens_each: through the model for one candidate, L + T.
      candidates: evaluated in one generation, E = G × P.
      chunk: candidates evaluated at a time, on each device of the population axis.
      working_bytes: temporaries and outputs of one generation.
      abstract_state: shapes and types of the state, for restoring one.
      compile_start: compiles what makes the state and metrics of generation 0; a run that goes on
        does without.
      step: makes the next state and its metrics; donates the state it is given.
      naive: what the model answers without a soft prompt, on the host; full_naive: the same before
        its weights were quantised, or None.
    """

    evolution: Evolution
    beginning: Beginning
    task: Task
    tokens_each: int
    candidates: int
    chunk: int
    working_bytes: int
    abstract_state: RunState
    compile_start: Callable[[], Callable[[], tuple[RunState, Metrics]]]
    step: Callable[[RunState], tuple[RunState, Metrics]]
    naive: Evaluation
    full_naive: Evaluation | None

    @property
    def naive_loss(self) -> float:
        """What the model is worth without a soft prompt and unquantised, a mean over countries."""
        naive = self.naive if self.full_naive is None else self.full_naive
        return float(jnp.mean(naive.loss_GP[:, 0]))


def resolve_settings(config: config_dict.ConfigDict, problem: Problem) -> dict[str, Any]:
    """Chooses what a run keeps for good: the chunk, and the spread of its first population.

    A run that goes on takes these from its record: another chunk would round differently.
    """
    beginning = begin(config, problem)
    candidates, chunk = beginning.vectors_E.shape[0], config.evaluation.chunk
    mesh = shape_of(problem.mesh)
    budget = least(chunk_budget(jax.local_devices()[0]))
    if not chunk:
        chunk = CPU_CHUNK
        if budget is not None:
            prompts_ELD = jax.jit(beginning.space.prompts)(beginning.vectors_E)
            chunk = find_chunk(config, problem, prompts_ELD, budget)
    return {
        "chunk": min(chunk, -(-candidates // mesh[0])),
        "spread": beginning.spread,
        "mesh": list(mesh),
    }


def keep_settings(
    config: config_dict.ConfigDict, problem: Problem, old: dict[str, Any]
) -> dict[str, Any]:
    """The settings of a run that goes on; on another mesh with a chunk that suits that."""
    if old.get("mesh", [1, 1]) == list(shape_of(problem.mesh)):
        return old
    return resolve_settings(config, problem) | {"spread": old["spread"]}


def find_chunk(
    config: config_dict.ConfigDict, problem: Problem, prompts_ELD: jax.Array, budget: int
) -> int:
    """The largest chunk that fits: by the analysis of what is compiled, and then by trying.

    Args:
      config: of the run.
      problem: what is asked of which model.
      prompts_ELD: of one generation.
      budget: bytes there are for temporaries.
    """
    arguments = (problem.weights, problem.task, prompts_ELD, jax.random.key(0))
    devices, _ = shape_of(problem.mesh)

    @functools.cache  # the choice may ask twice
    def compiled(chunk: int) -> Any:
        objective = make_objective(config, chunk)
        function = functools.partial(evaluate, problem.graphdef, objective, mesh=problem.mesh)
        return jax.jit(function).lower(*arguments, jnp.int32(chunk)).compile()

    def bytes_of(chunk: int) -> int:
        return compiled(chunk).memory_analysis().temp_size_in_bytes

    def runs(chunk: int) -> bool:
        try:
            jax.block_until_ready(compiled(chunk)(*arguments, jnp.int32(chunk * devices)))
        except jax.errors.JaxRuntimeError as error:
            if is_out_of_memory(error):
                return False
            raise
        return True

    candidates = -(-prompts_ELD.shape[0] // devices)
    first = {1, min(2, candidates)}  # that the choice asks for
    in_parallel(*(functools.partial(compiled, chunk) for chunk in first))
    return choose_chunk(bytes_of, runs, candidates, budget)


def build_engine(
    config: config_dict.ConfigDict,
    problem: Problem,
    settings: dict[str, Any],
    begins: bool = False,
) -> Engine:
    """Compiles one generation, and what the model is without a prompt, side by side.

    Args:
      config: of the run.
      problem: what is asked of which model.
      settings: as `resolve_settings` gives them.
      begins: whether a start is sure to be wanted, to be compiled beside the others.
    """
    beginning = begin(config, problem, settings["spread"])
    evolution = make_evolution(config, problem, beginning, settings["chunk"])
    mesh, weights, vectors_E = problem.mesh, problem.weights, beginning.vectors_E
    space, params, key = copy_everywhere(
        mesh, (beginning.space, beginning.strategy.params, jax.random.key(config.seed))
    )
    # The naive answers are still to come; what stands for them has their shape.
    begun = (weights, problem.task, space, params, vectors_E, key)
    layout = _layout(mesh, evolution, begun)
    start = jax.jit(evolution.start, out_shardings=layout).lower(*begun)
    abstract_state = start.out_info[0]
    step = jax.jit(evolution.step, donate_argnums=3, out_shardings=layout)
    compiled, (task, naive), *started = in_parallel(
        step.lower(weights, problem.task, space, abstract_state).compile,
        functools.partial(ask_naive, config, problem),
        *[start.compile] * begins,
    )
    full_naive = None
    if problem.full_naive_QA is not None:
        full_naive = _measure_naive(
            config, task, copy_everywhere(mesh, jnp.asarray(problem.full_naive_QA)[None])
        )
    begun = (weights, task, space, params, vectors_E, key)
    analysis = compiled.memory_analysis()
    candidates = vectors_E.shape[0]
    return Engine(
        beginning=beginning,
        evolution=evolution,
        task=task,
        tokens_each=config.prompt.length + problem.questions.trie.size,
        candidates=candidates,
        chunk=settings["chunk"],
        working_bytes=analysis.temp_size_in_bytes + analysis.output_size_in_bytes,
        abstract_state=abstract_state,
        compile_start=lambda: functools.partial(started[0] if started else start.compile(), *begun),
        step=functools.partial(compiled, weights, task, space),
        naive=naive,
        full_naive=full_naive,
    )


def _layout(mesh: jax.sharding.Mesh | None, evolution: Evolution, begun: tuple) -> Any:
    """Shardings of a state and its metrics: coordinates are split, all else is on every device."""
    if mesh is None:
        return None
    state, _ = jax.eval_shape(evolution.start, *begun)
    (coordinates,) = evolution.strategy.shape
    split = along_coordinates(mesh, state.strategy, coordinates)
    copied = jax.tree.map(lambda _: everywhere(mesh), state)
    return dataclasses.replace(copied, strategy=split), everywhere(mesh)


def make_evolution(
    config: config_dict.ConfigDict, problem: Problem, beginning: Beginning, chunk: int
) -> Evolution:
    """The search that a config describes, to be compiled."""
    objective = make_objective(config, chunk)
    noisy = objective.readout == "sampled"
    weighted = tuple(problem.task.terms.index(name) for name, _ in objective.weights)
    return Evolution(
        strategy=beginning.strategy,
        evaluate=functools.partial(evaluate, problem.graphdef, objective, mesh=problem.mesh),
        migrants=config.search.migrants,
        reevaluate=config.objective.reevaluate if noisy else 0,
        front=_FRONT if len(weighted) > 1 and not noisy else 0,  # luck would fill it
        objectives=weighted,
    )


def in_parallel(*functions: Callable[[], Any]) -> list[Any]:
    """Calls functions that compile, at once: XLA lets go of Python's lock meanwhile.

    On a GPU one after the other: XLA chooses kernels by timing them, and would time two at once.
    """
    workers = 1 if jax.devices()[0].platform == "gpu" else len(functions)
    with ThreadPoolExecutor(workers) as pool:
        return [call.result() for call in [pool.submit(function) for function in functions]]


def ask_naive(config: config_dict.ConfigDict, problem: Problem) -> tuple[Task, Evaluation]:
    """The task with the naive answers in it, and what the model is worth without a soft prompt."""
    objective = make_objective(config, 1)
    copy = functools.partial(copy_everywhere, problem.mesh)
    no_rows = copy(jnp.zeros((1, 0, problem.model_config.width)))
    key = jax.random.fold_in(jax.random.key(config.seed), NAIVE)
    alone = jax.jit(
        functools.partial(evaluate, problem.graphdef, objective),
        out_shardings=everywhere(problem.mesh),
    )
    answers_PQA = alone(problem.weights, problem.task, no_rows, copy(key)).answers_PQA
    task = problem.task._replace(naive_QA=answers_PQA[0])
    return task, _measure_naive(config, task, answers_PQA)


def _measure_naive(
    config: config_dict.ConfigDict, task: Task, answers_PQA: jax.Array
) -> Evaluation:
    measure = jax.jit(functools.partial(measure_answers, make_objective(config, 1)))
    return jax.device_get(measure(task, jnp.zeros((1, 0, 1)), answers_PQA))


def make_objective(config: config_dict.ConfigDict, chunk: int) -> Objective:
    """The config's objective, for a chunk."""
    terms = config.objective.terms
    return Objective(
        readout=config.objective.readout,
        respondents=config.objective.respondents,
        norm=config.objective.norm,
        weights=tuple((name, float(terms[name])) for name in sorted(terms) if terms[name]),
        chunk=chunk,
        attention=config.evaluation.attention,
    )
