"""JADE: F and CR are drawn around the mean of those that worked, with an archive of parents.

J. Zhang, A. C. Sanderson: JADE: Adaptive Differential Evolution With Optional External Archive.
IEEE Transactions on Evolutionary Computation 13(5), 2009.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from evosax.algorithms.base import metrics_fn
from evosax.algorithms.population_based.base import Params as BaseParams
from evosax.core.fitness_shaping import identity_fitness_shaping_fn
from flax import struct

from jaxalign.search import adaptive


@struct.dataclass
class State(adaptive.State):
    """Of JADE.

    Attributes:
      archive: parents that lost, at most `archive_rate` × P of them.
      mean_weight, mean_rate: the locations mu_F and mu_CR, in [0, 1].
    """

    archive: adaptive.Archive
    mean_weight: jax.Array
    mean_rate: jax.Array


@struct.dataclass
class Params(BaseParams):
    """Of JADE.

    Attributes:
      best_share: p, share of the population that counts as best.
      learning_rate: c, how fast the two means follow; 0 keeps them.
      initial_weight, initial_rate: mu_F and mu_CR at the start.
    """

    best_share: float
    learning_rate: float
    initial_weight: float
    initial_rate: float


class JADE(adaptive.AdaptiveDE):
    """Adaptive differential evolution, current-to-pbest/1/bin with an archive of P parents."""

    def __init__(
        self,
        population_size: int,
        solution: jax.Array,
        archive_rate: float = 1.0,
        fitness_shaping_fn: Callable = identity_fitness_shaping_fn,
        metrics_fn: Callable = metrics_fn,
    ):
        super().__init__(population_size, solution, archive_rate, fitness_shaping_fn, metrics_fn)

    @property
    def _default_params(self) -> Params:
        return Params(best_share=0.05, learning_rate=0.1, initial_weight=0.5, initial_rate=0.5)

    @classmethod
    def param_ranges(cls, population_size: int) -> dict[str, tuple[float, float]]:
        """Check that all are shares; the archive holds up to 10 populations."""
        names = ("best_share", "learning_rate", "initial_weight", "initial_rate")
        return dict.fromkeys(names, (0.0, 1.0)) | {"archive_rate": (0.0, 10.0)}

    def _init(self, key: jax.Array, params: Params) -> State:
        return State(
            **self._blank(),
            archive=self._empty_archive(),
            mean_weight=jnp.asarray(params.initial_weight, jnp.float32),
            mean_rate=jnp.asarray(params.initial_rate, jnp.float32),
        )

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[jax.Array, State]:
        rate_key, weight_key, mutate_key, cross_key = jax.random.split(key, 4)
        size = self.population_size
        rate_P = adaptive.draw_rate(rate_key, jnp.full(size, state.mean_rate))
        weight_P = adaptive.draw_weight(weight_key, jnp.full(size, state.mean_weight))
        mutants_PN = adaptive.current_to_pbest(
            mutate_key,
            state.population,
            state.fitness,
            state.archive,
            weight_P=weight_P,
            top_P=adaptive.top_count(jnp.full(size, params.best_share), size),
            count=size,
        )
        trials_PN = adaptive.crossover(cross_key, state.population, mutants_PN, rate_P)
        return trials_PN, state.replace(trial_weight=weight_P, trial_rate=rate_P)

    def _tell(
        self,
        key: jax.Array,
        population: jax.Array,
        fitness: jax.Array,
        state: State,
        params: Params,
    ) -> State:
        better_P = fitness < state.fitness
        success_P = better_P & jnp.isfinite(state.fitness)  # to beat a failure teaches nothing
        # Eqs. 9 and 11; a generation without success leaves the means alone.
        step = jnp.where(jnp.any(success_P), params.learning_rate, 0.0)
        new_weight = adaptive.lehmer_mean(state.trial_weight, success_P)
        new_rate = adaptive.mean(state.trial_rate, success_P)
        return state.replace(
            population=jnp.where(better_P[:, None], population, state.population),
            fitness=jnp.where(better_P, fitness, state.fitness),
            archive=adaptive.archived(
                key,
                state.archive,
                state.population,
                success_P,
                self._capacity(self.population_size),
            ),
            mean_weight=(1.0 - step) * state.mean_weight + step * new_weight,
            mean_rate=(1.0 - step) * state.mean_rate + step * new_rate,
            replaced=jnp.sum(better_P, dtype=jnp.int32),
        )
