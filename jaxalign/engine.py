"""A search, compiled for one problem: what a run repeats, without the files around it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import config_dict

from jaxalign.evolve import Evolution, Metrics, RunState
from jaxalign.fitness import Evaluation, Objective, choose_chunk, evaluate
from jaxalign.memory import chunk_budget
from jaxalign.problem import Problem, first_population, strategy_params
from jaxalign.search import make_strategy, vocabulary_bounds


@dataclasses.dataclass(frozen=True, eq=False)
class Engine:
    """The compiled steps of a search.

    Attributes:
      tokens: through the model in one generation, P × (L + T).
      chunk: candidates evaluated at a time.
      working_bytes: temporaries and outputs of one generation.
      abstract_state: shapes and types of the state, for restoring one.
      compile_start: compiles what makes the state and metrics of generation 0; a run that goes on
        does without.
      step: makes the next state and its metrics; donates the state it is given.
      naive: what the model answers without a soft prompt, on the host.
    """

    tokens: int
    chunk: int
    working_bytes: int
    abstract_state: RunState
    compile_start: Callable[[], Callable[[], tuple[RunState, Metrics]]]
    step: Callable[[RunState], tuple[RunState, Metrics]]
    naive: Evaluation


def resolve_settings(config: config_dict.ConfigDict, problem: Problem) -> dict[str, Any]:
    """Chooses what a run keeps for good: the chunk, and the spread of its first population.

    A run that goes on takes these from its record: another chunk would round differently.
    """
    population_PLD = first_population(config, problem)
    spread = float(jnp.std(population_PLD - jnp.mean(population_PLD, axis=0, keepdims=True)))

    def bytes_of(chunk: int) -> int:
        function = functools.partial(evaluate, problem.graphdef, make_objective(config, chunk))
        arguments = (problem.weights, problem.task, population_PLD, jax.random.key(0))
        return jax.jit(function).lower(*arguments).compile().memory_analysis().temp_size_in_bytes

    population = config.search.population
    chunk = config.evaluation.chunk or choose_chunk(
        bytes_of, population, chunk_budget(jax.devices()[0])
    )
    return {"chunk": min(chunk, population), "spread": spread}


def build_engine(
    config: config_dict.ConfigDict, problem: Problem, settings: dict[str, Any]
) -> Engine:
    """Compiles one generation.

    Args:
      config: of the run.
      problem: what is asked of which model.
      settings: as `resolve_settings` gives them.
    """
    weights, task = problem.weights, problem.task
    strategy = make_strategy(
        config.search.strategy,
        config.search.population,
        config.prompt.length,
        problem.model_config.width,
        settings["spread"],
        strategy_params(config),
    )
    bounds = None
    if config.search.bounds == "vocabulary":
        bounds = jax.jit(vocabulary_bounds)(weights["embedding"][...])
    objective = make_objective(config, settings["chunk"])
    evolution = Evolution(
        strategy, functools.partial(evaluate, problem.graphdef, objective), bounds
    )

    key = jax.random.key(config.seed)
    population_PLD = first_population(config, problem)
    lowered = jax.jit(evolution.start).lower(weights, task, population_PLD, key)
    abstract_state = lowered.out_info[0]
    step = jax.jit(evolution.step, donate_argnums=2).lower(weights, task, abstract_state).compile()
    analysis = step.memory_analysis()
    alone = functools.partial(evaluate, problem.graphdef, dataclasses.replace(objective, chunk=1))
    no_rows = jnp.zeros((1, 0, problem.model_config.width))
    naive_key = jax.random.fold_in(key, 2**32 - 2)  # beyond every generation's number
    return Engine(
        tokens=config.search.population * (config.prompt.length + problem.questions.trie.size),
        chunk=settings["chunk"],
        working_bytes=analysis.temp_size_in_bytes + analysis.output_size_in_bytes,
        abstract_state=abstract_state,
        compile_start=lambda: functools.partial(
            lowered.compile(), weights, task, population_PLD, key
        ),
        step=functools.partial(step, weights, task),
        naive=jax.device_get(jax.jit(alone)(weights, task, no_rows, naive_key)),
    )


def make_objective(config: config_dict.ConfigDict, chunk: int) -> Objective:
    """The config's objective, for a chunk."""
    return Objective(
        readout=config.objective.readout,
        respondents=config.objective.respondents,
        norm=config.objective.norm,
        chunk=chunk,
    )
