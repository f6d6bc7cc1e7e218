"""A search, compiled for one problem: what a run repeats, without the files around it."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp

from jaxalign.devices.distributed import slowest, smallest
from jaxalign.devices.memory import CPU_CHUNK, chunk_budget, is_out_of_memory
from jaxalign.devices.mesh import along_coordinates, copy_everywhere, everywhere, shape_of
from jaxalign.evolve import Evolution
from jaxalign.fitness import Evaluator, Execution, choose_chunk
from jaxalign.objective import Evaluation, Objective, Task, measure_answers
from jaxalign.problem import Problem
from jaxalign.search import Draw, SearchPlan, draw_key
from jaxalign.search.state import Metrics, RunState
from jaxalign.settings import EvaluationSettings

_FRONT_SIZE = 16  # members of the Pareto front, kept where several terms are weighted


@dataclasses.dataclass(frozen=True)
class Resolved:
    """What a run chooses once and keeps; config.json has it as `resolved`.

    Attributes:
      chunk: candidates evaluated at a time; another one would round differently.
      spread: of the first population.
      mesh: devices along its two axes.
    """

    chunk: int
    spread: float
    mesh: tuple[int, int]

    @classmethod
    def read(cls, resolved: Mapping[str, Any]) -> "Resolved":
        """Return what a config.json holds; the first versions had no mesh."""
        return cls(resolved["chunk"], resolved["spread"], tuple(resolved.get("mesh", (1, 1))))


@dataclasses.dataclass(frozen=True, eq=False)
class Engine:
    """The compiled steps of a search.

    Attributes:
      plan: the space, strategy and first population.
      evolution: what was compiled.
      task: what is asked and wanted, the naive answers included.
      tokens_each: tokens through the model for one candidate, L + T.
      chunk: candidates evaluated at a time, on each device of the population axis.
      working_bytes: temporaries and outputs of one generation.
      abstract_state: shapes and types of the state, for restoring one.
      start: makes the state and metrics of generation 0; compiles when first called, if not before.
      step: makes the next state and its metrics; donates the state it is given.
      naive: what the model answers without a soft prompt, on the host.
      full_naive: the same before its weights were quantised, or None.
    """

    plan: SearchPlan
    evolution: Evolution
    task: Task
    tokens_each: int
    chunk: int
    working_bytes: int
    abstract_state: RunState
    start: Callable[[], tuple[RunState, Metrics]]
    step: Callable[[RunState], tuple[RunState, Metrics]]
    naive: Evaluation
    full_naive: Evaluation | None

    @property
    def unquantised(self) -> Evaluation:
        """The naive evaluation by the model as its files have it."""
        return self.naive if self.full_naive is None else self.full_naive

    @property
    def naive_loss(self) -> float:
        """Loss without a soft prompt and unquantised, a mean over countries."""
        return float(jnp.mean(self.unquantised.loss_GP[:, 0]))


def choose_execution(
    settings: EvaluationSettings, problem: Problem, plan: SearchPlan, kept: Resolved | None = None
) -> Execution:
    """Return how a run evaluates: with its chunk so far, the configured one, or one that fits.

    Args:
      settings: of the run; a chunk of 0 leaves the choice open.
      problem: what is asked of which model.
      plan: of the search.
      kept: what a resumed run has kept; its chunk counts unless the mesh is another one.
    """
    devices, _ = mesh_shape = shape_of(problem.mesh)
    execution = Execution(settings.chunk, settings.attention, problem.mesh)
    if kept and kept.mesh == mesh_shape:
        return dataclasses.replace(execution, chunk=kept.chunk)
    chunk = settings.chunk
    if not chunk:
        chunk, budget = CPU_CHUNK, smallest(chunk_budget(jax.local_devices()[0]))
        if budget is not None:
            prompts_ELD = jax.jit(plan.space.prompts)(plan.vectors_E)
            chunk = find_chunk(problem, execution, prompts_ELD, budget)
    return dataclasses.replace(execution, chunk=min(chunk, -(-plan.candidates // devices)))


def find_chunk(problem: Problem, execution: Execution, prompts_ELD: jax.Array, budget: int) -> int:
    """Return the chunk that is fastest by trying, of those that compile and run in the budget.

    Args:
      problem: what is asked of which model.
      execution: of the run; its chunk is not used.
      prompts_ELD: of one generation.
      budget: bytes available for temporaries.
    """
    arguments = (problem.weights, problem.task.at(jnp.int32(0)), prompts_ELD)
    key = jax.random.key(0)
    devices, _ = shape_of(execution.mesh)

    def seconds_of(chunk: int) -> float:
        evaluate = jax.jit(problem.evaluator(dataclasses.replace(execution, chunk=chunk)))
        count = jnp.int32(chunk * devices)
        try:
            compiled = evaluate.lower(*arguments, key=key, count=count).compile()
            if compiled.memory_analysis().temp_size_in_bytes > budget:
                return math.inf
            for _ in range(2):  # of which the first warms up
                begun = time.perf_counter()
                jax.block_until_ready(compiled(*arguments, key=key, count=count))
        except jax.errors.JaxRuntimeError as error:  # a TPU's compiler raises it too
            if is_out_of_memory(error):
                return math.inf
            raise
        return time.perf_counter() - begun

    candidates = -(-prompts_ELD.shape[0] // devices)
    return choose_chunk(lambda chunk: slowest(seconds_of(chunk)), candidates)


def build_engine(
    problem: Problem, plan: SearchPlan, execution: Execution, *, starts: bool = False
) -> Engine:
    """Compile one generation, and evaluate the model without a prompt, side by side.

    Args:
      problem: what is asked of which model.
      plan: the space, strategy and first population.
      execution: how candidates are evaluated.
      starts: whether the start is sure to be wanted, to be compiled beside the others.
    """
    evolution = make_evolution(problem, plan, execution)
    mesh, weights = problem.mesh, problem.weights
    space, params, key = copy_everywhere(
        mesh, (plan.space, plan.strategy.params, jax.random.key(plan.seed))
    )
    # The naive answers are not known yet; zeros of their shape are in the task.
    arguments = (weights, problem.task, space, params, plan.vectors_E, key)
    start, step = lower_steps(mesh, evolution, arguments)
    compile_start = functools.cache(start.compile)  # which a resumed run does without
    abstract_state = start.out_info[0]
    compiled, (task, naive), *_ = in_parallel(
        step.compile,
        functools.partial(ask_naive, problem, execution.attention, plan.seed),
        *[compile_start] * starts,
    )
    full_naive = None
    if problem.full_naive_QA is not None:
        full_naive_QA = copy_everywhere(mesh, jnp.asarray(problem.full_naive_QA))
        full_naive = _measure_naive(problem, task, full_naive_QA)
    arguments = (weights, task, space, params, plan.vectors_E, key)
    analysis = compiled.memory_analysis()
    asked = jax.eval_shape(task.at, jnp.int32(0)).layout
    return Engine(
        plan=plan,
        evolution=evolution,
        task=task,
        tokens_each=abstract_state.best_prompt_GLD.shape[1] + asked.tokens_T.shape[0],
        chunk=execution.chunk,
        working_bytes=analysis.temp_size_in_bytes + analysis.output_size_in_bytes,
        abstract_state=abstract_state,
        start=lambda: compile_start()(*arguments),
        step=functools.partial(compiled, weights, task, space),
        naive=naive,
        full_naive=full_naive,
    )


def lower_steps(
    mesh: jax.sharding.Mesh | None, evolution: Evolution, arguments: tuple[Any, ...]
) -> tuple[Any, Any]:
    """Return start and step, to be compiled; `arguments` of the start, or shapes of them."""
    shardings = _shardings(mesh, evolution, arguments)
    start = jax.jit(evolution.start, out_shardings=shardings).lower(*arguments)
    step = jax.jit(evolution.step, donate_argnums=3, out_shardings=shardings)
    return start, step.lower(*arguments[:3], start.out_info[0])


def _shardings(mesh: jax.sharding.Mesh | None, evolution: Evolution, arguments: tuple) -> Any:
    """Shardings of a state and its metrics: coordinates are split, all else is on every device."""
    if mesh is None:
        return None
    state, _ = jax.eval_shape(evolution.start, *arguments)
    (coordinates,) = evolution.strategy.shape
    split = along_coordinates(mesh, state.strategy, coordinates)
    copied = jax.tree.map(lambda _: everywhere(mesh), state)
    return dataclasses.replace(copied, strategy=split), everywhere(mesh)


def make_evolution(problem: Problem, plan: SearchPlan, execution: Execution) -> Evolution:
    """Return the pure steps of a search, to be compiled."""
    objective = problem.objective
    weighted = tuple(problem.task.goal.terms.index(name) for name, _ in objective.weights)
    return Evolution(
        strategy=plan.strategy,
        evaluate=problem.evaluator(execution),
        migrants=plan.migrants,
        reevaluate=plan.reevaluate,
        front_size=_FRONT_SIZE
        if len(weighted) > 1 and not problem.has_noisy_loss
        else 0,  # luck would fill it
        objectives=weighted,
        choose=chooser(problem, execution) if problem.sets.choose else None,
    )


def chooser(problem: Problem, execution: Execution) -> Evaluator:
    """Return what scores prompts in the presentations to choose by, by the survey alone."""
    readout = "greedy" if problem.objective.readout == "greedy" else "expected"
    objective = Objective(readout, norm=problem.objective.norm)
    devices, _ = shape_of(problem.mesh)
    chunk = min(execution.chunk, -(-len(problem.targets) // devices))
    return Evaluator(problem.graphdef, objective, dataclasses.replace(execution, chunk=chunk))


def in_parallel(*functions: Callable[[], Any]) -> list[Any]:
    """Call functions that compile, at once: XLA releases Python's lock meanwhile.

    On a GPU one after the other: XLA chooses kernels by timing them, and would time two at once.
    """
    workers = 1 if jax.devices()[0].platform == "gpu" else len(functions)
    with ThreadPoolExecutor(workers) as pool:
        return [call.result() for call in [pool.submit(function) for function in functions]]


def ask_naive(problem: Problem, attention: str, seed: int) -> tuple[Task, Evaluation]:
    """Return the task with the naive answers in it, and the evaluation without a soft prompt."""
    copy = functools.partial(copy_everywhere, problem.mesh)
    no_rows = copy(jnp.zeros((1, 0, problem.model_config.width)))
    alone = jax.jit(
        Evaluator(problem.graphdef, problem.objective, Execution(1, attention)),
        out_shardings=everywhere(problem.mesh),
    )
    key = copy(draw_key(seed, Draw.NAIVE))
    naive_QA = alone(problem.weights, problem.task, no_rows, key=key).answers_PQA[0]
    task = problem.task.with_goal(naive_QA=naive_QA)
    return task, _measure_naive(problem, task, naive_QA)


def _measure_naive(problem: Problem, task: Task, naive_QA: jax.Array) -> Evaluation:
    measure = jax.jit(functools.partial(measure_answers, problem.objective))
    return jax.device_get(measure(task.goal, jnp.zeros((1, 0, 1)), naive_QA[None]))
