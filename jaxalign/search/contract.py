"""One contract for all algorithms: what the search may ask of a strategy.

A strategy minimises. `init` wants an evaluated population, `ask` gives P candidates, `tell` takes
their losses; +inf marks a failed candidate, NaN must never arrive. All methods but the properties
are pure and may be jitted, and vmapped over several searches.
"""

import dataclasses
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
from evosax.algorithms.base import EvolutionaryAlgorithm
from evosax.algorithms.population_based.base import PopulationBasedAlgorithm

from jaxalign.search.answers import ExpectedAnswers

# Only compare losses or use differences of finite ones, so they may see +inf: a failed member is
# then replaced by whatever comes next.
_COMPARES = {"DifferentialEvolution", "JADE", "LSHADE", "SHADE", "jDE"}
# Their state's `population` and `fitness` are what the next `ask` selects from, with raw losses.
# Not so PSO (which follows each particle's own best), LearnedGA (which keeps a second record of
# the best) and DiffusionEvolution (whose members carry the noise of their generation).
_EXCHANGES = _COMPARES | {"GESMR_GA", "MR15_GA", "SAMR_GA", "SimpleGA"}
_HOPELESS = 1e6  # above any loss of a survey, small enough to be averaged and squared


@dataclasses.dataclass(frozen=True)
class Strategy:
    """One algorithm for candidates of a shape such as `[L, D]`.

    Attributes:
      name: in the table of strategies.
      algorithm: the instance; build one per run, for a second would compile again.
      params: the algorithm's parameters, a pytree; part of the run's state.
      shape: of one candidate.
    """

    name: str
    algorithm: EvolutionaryAlgorithm
    params: Any
    shape: tuple[int, ...]

    @property
    def population(self) -> int:
        """P, the number of candidates of an `ask`."""
        return self.algorithm.population_size

    @property
    def keeps_population(self) -> bool:
        """Whether the state holds a population (as DE does) and not a distribution (as CMA-ES)."""
        return isinstance(self.algorithm, PopulationBasedAlgorithm)

    @property
    def spread_is_compiled(self) -> bool:
        """Whether the first step length is in the program, and not among the parameters."""
        return hasattr(self.algorithm, "std_schedule")

    @property
    def exchanges(self) -> bool:
        """Whether `receive` and `refresh` do anything: the members and losses are the search.

        A class of the user's says so by an attribute `exchanges = True`.
        """
        return self.name in _EXCHANGES or getattr(self.algorithm, "exchanges", False)

    @property
    def reads_answers(self) -> bool:
        """Whether `init` and `tell` want the candidates' answers beside their losses.

        A class of the user's says so by an attribute `reads_answers = True`; the last argument of
        its `init` and `tell` is then `ExpectedAnswers`.
        """
        return getattr(self.algorithm, "reads_answers", False)

    def init(
        self,
        key: jax.Array,
        params: Any,
        population: jax.Array,
        loss_P: jax.Array,
        answers: ExpectedAnswers | None = None,
    ) -> Any:
        """State after the initial population `[P, *shape]`.

        A distribution starts at the best of it. Consumes the key.
        """
        with _evosax_rules():
            if self.reads_answers:
                usable_P = self._usable(loss_P)
                return self.algorithm.init(key, population, usable_P, params, answers)
            if self.keeps_population:
                return self.algorithm.init(key, population, self._usable(loss_P), params)
            return self.algorithm.init(key, population[jnp.argmin(loss_P)], params)

    def ask(self, key: jax.Array, params: Any, state: Any) -> tuple[jax.Array, Any]:
        """Candidates `[P, *shape]` and the state that `tell` wants. Consumes the key."""
        with _evosax_rules():
            return self.algorithm.ask(key, state, params)

    def active(self, state: Any) -> jax.Array:
        """Return the number of leading candidates that count, int32, after an `ask`.

        The others are copies; `tell` does not look at their losses. All count but in L-SHADE.
        """
        return getattr(state, "size", jnp.int32(self.population))

    def tell(
        self,
        key: jax.Array,
        params: Any,
        population: jax.Array,
        loss_P: jax.Array,
        state: Any,
        answers: ExpectedAnswers | None = None,
    ) -> Any:
        """Return the next state. Consumes the key."""
        given = (answers,) if self.reads_answers else ()
        usable_P = self._usable(loss_P)
        with _evosax_rules():
            return self.algorithm.tell(key, population, usable_P, state, params, *given)[0]

    def accepted(self, before: Any, after: Any) -> jax.Array:
        """Return the number of members that a `tell` replaced; -1 without members."""
        if not self.keeps_population:
            return jnp.int32(-1)
        if hasattr(after, "replaced"):
            return after.replaced
        return jnp.sum(jnp.any(before.population != after.population, axis=-1), dtype=jnp.int32)

    def members(self, state: Any) -> jax.Array:
        """Return the kept population `[P, *shape]`, of which `active` count.

        Raises:
          TypeError: the strategy keeps none.
        """
        if not self.keeps_population:
            raise TypeError(f"{self.name} keeps no population")
        return state.population.reshape(self.population, *self.shape)

    def receive(self, state: Any, vectors: jax.Array, loss_K: jax.Array) -> Any:
        """Return the state after migrants `[K, *shape]` with their losses.

        The best migrant meets the worst member, the second best the second worst, and so on. A
        better migrant takes the member's place; what the member had beside its vector and loss, as
        its own F and CR in jDE, stays. +inf never enters. The state itself if not `exchanges`.
        """
        if not self.exchanges:
            return state
        meetings = min(loss_K.shape[0], self.population)
        rows_P = jnp.arange(self.population)
        standing_P = jnp.where(rows_P < self.active(state), state.fitness, -jnp.inf)
        weakest_K = jnp.argsort(-standing_P)[:meetings]
        order_K = jnp.argsort(loss_K)[:meetings]
        loss_K = loss_K[order_K]
        vectors_KN = vectors.reshape(vectors.shape[0], -1)[order_K]
        place_K = jnp.where(loss_K < standing_P[weakest_K], weakest_K, self.population)
        record = loss_K[0] < state.best_fitness
        return state.replace(
            population=state.population.at[place_K].set(vectors_KN, mode="drop"),
            fitness=state.fitness.at[place_K].set(loss_K, mode="drop"),
            best_solution=jnp.where(record, vectors_KN[0], state.best_solution),
            best_fitness=jnp.where(record, loss_K[0], state.best_fitness),
        )

    def refresh(self, state: Any, loss_P: jax.Array) -> Any:
        """Return the state with new losses of the members, and the best member recorded.

        Rows that do not count stay. The state itself if not `exchanges`.
        """
        if not self.exchanges:
            return state
        counts_P = jnp.arange(self.population) < self.active(state)
        fitness_P = jnp.where(counts_P, self._usable(loss_P), state.fitness)
        best = jnp.argmin(jnp.where(counts_P, fitness_P, jnp.inf))
        return state.replace(
            fitness=fitness_P, best_solution=state.population[best], best_fitness=fitness_P[best]
        )

    def _usable(self, loss_P: jax.Array) -> jax.Array:
        """Failed candidates made as bad as the worst: one +inf in a mean makes a NaN state."""
        if self.name in _COMPARES or getattr(self.algorithm, "compares", False):
            return loss_P
        finite_P = jnp.isfinite(loss_P)
        worst = jnp.max(jnp.where(finite_P, loss_P, -jnp.inf))
        return jnp.where(finite_P, loss_P, jnp.where(jnp.any(finite_P), worst, _HOPELESS))


def _evosax_rules() -> AbstractContextManager:
    """Evosax broadcasts across ranks, which a strict caller may have forbidden for its own code."""
    return jax.numpy_rank_promotion("allow")
