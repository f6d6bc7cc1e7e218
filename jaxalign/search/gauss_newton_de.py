"""L-SHADE, half of whose candidates are steps and explorations of Gauss-Newton.

Both look at the same evaluations: every candidate feeds the model of the answers, and what
Gauss-Newton finds takes the place of the worst members, as a migrant would.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxalign.search import gauss_newton, lshade
from jaxalign.search.answers import ExpectedAnswers


@struct.dataclass
class State(lshade.State):
    """Of L-SHADE, and the model beside it.

    Attributes:
      model: Gauss-Newton's state; its `trial_step` is 0 for the candidates of L-SHADE.
    """

    model: gauss_newton.State


@struct.dataclass
class Params(lshade.Params, gauss_newton.Params):
    """Of both."""


class GaussNewtonDE(lshade.LSHADE):
    """L-SHADE and Gauss-Newton over one archive of answers.

    Of the members that count, the worse half ask for no trial of their own.

    Args:
      population_size: P, members at the start.
      solution, archive_size, rows: as of Gauss-Newton.
      options: as of L-SHADE.
    """

    reads_answers = True
    compares = True
    exchanges = True

    def __init__(
        self,
        population_size: int,
        solution: jax.Array,
        archive_size: int = 400,
        *,
        rows: int = 1,
        generations: int = 100,
        **options: Any,
    ):
        super().__init__(population_size, solution, generations=generations, **options)
        size = max(archive_size, population_size)
        self.model = gauss_newton.GaussNewton(population_size // 2, solution, size, rows=rows)

    @property
    def _default_params(self) -> Params:
        both = super()._default_params, self.model.default_params
        fields = {
            field.name: getattr(params, field.name)
            for params in both
            for field in dataclasses.fields(params)
        }
        return Params(**fields)

    @classmethod
    def param_ranges(cls, population_size: int) -> dict[str, tuple[float, float]]:
        """Return the ranges of both."""
        theirs = gauss_newton.GaussNewton.param_ranges(population_size)
        return super().param_ranges(population_size) | theirs

    @partial(jax.jit, static_argnames=("self",))
    def init(
        self,
        key: jax.Array,
        population: jax.Array,
        fitness: jax.Array,
        params: Params,
        answers: ExpectedAnswers,
    ) -> State:
        """Return the state after an evaluated population `[P, …]` with its answers."""
        members = super().init(key, population, fitness, params)
        model = self.model.init(key, population, fitness, params, answers)
        model = model.replace(trial_step=jnp.zeros(self.population_size))
        fields = {one.name: getattr(members, one.name) for one in dataclasses.fields(members)}
        return State(**fields, model=model)

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[jax.Array, State]:
        trial_key, step_key = jax.random.split(key)
        trials_PN, state = super()._ask(trial_key, state, params)
        steps_KN, model = self.model._ask(step_key, state.model, params)
        row_K = self._worst(state)
        trials_PN = trials_PN.at[row_K].set(steps_KN, mode="drop")
        step_P = jnp.zeros(self.population_size).at[row_K].set(model.trial_step, mode="drop")
        return trials_PN, state.replace(model=model.replace(trial_step=step_P))

    @partial(jax.jit, static_argnames=("self",))
    def tell(
        self,
        key: jax.Array,
        population: jax.Array,
        fitness: jax.Array,
        state: State,
        params: Params,
        answers: ExpectedAnswers,
    ) -> tuple[State, Any]:
        """Return the state of both; Gauss-Newton's candidates teach L-SHADE no F and CR."""
        counts_P = jnp.arange(self.population_size) < state.size
        fitness = jnp.where(counts_P, fitness, jnp.inf)
        steps_P = state.model.trial_step > 0
        model, _ = self.model.tell(key, population, fitness, state.model, params, answers)
        own_P = jnp.where(steps_P, jnp.inf, fitness)
        after, metrics = super().tell(key, population, own_P, state, params)
        after = after.replace(model=model)

        # The best of Gauss-Newton meets the worst member, and so on.
        count = self.model.population_size
        found_K = jnp.argsort(jnp.where(steps_P, fitness, jnp.inf))[:count]
        standing_P = jnp.where(
            jnp.arange(self.population_size) < after.size, after.fitness, -jnp.inf
        )
        worst_K = jnp.argsort(-standing_P)[:count]
        loss_K = jnp.where(steps_P, fitness, jnp.inf)[found_K]
        enters_K = loss_K < standing_P[worst_K]
        row_K = jnp.where(enters_K, worst_K, self.population_size)
        vectors_KN = population.reshape(self.population_size, -1)[found_K]
        after = after.replace(
            population=after.population.at[row_K].set(vectors_KN, mode="drop"),
            fitness=after.fitness.at[row_K].set(loss_K, mode="drop"),
            best_solution=model.best_solution,
            best_fitness=model.best_fitness,
            replaced=after.replaced + jnp.sum(enters_K, dtype=jnp.int32),
        )
        return after, metrics

    def _worst(self, state: State) -> jax.Array:
        """Return the rows of the worse half of the members, and P in the place of all others."""
        standing_P = jnp.where(
            jnp.arange(self.population_size) < state.size, state.fitness, -jnp.inf
        )
        order_K = jnp.argsort(-standing_P)[: self.model.population_size]
        rank_K = jnp.arange(self.model.population_size)
        return jnp.where(rank_K < state.size // 2, order_K, self.population_size)
