"""SHADE: F and CR are drawn around one of several remembered means of those that worked.

R. Tanabe, A. Fukunaga: Success-History Based Parameter Adaptation for Differential Evolution.
IEEE Congress on Evolutionary Computation, 2013, section III.
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
    """Of SHADE.

    Attributes:
      archive: parents that lost, at most `archive_rate` × P of them.
      memory_weight, memory_rate: the history `[H]` of F and CR (M_F, M_CR), in [0, 1].
      slot: the entry of the history that is written next (k).
    """

    archive: adaptive.Archive
    memory_weight: jax.Array
    memory_rate: jax.Array
    slot: jax.Array


@struct.dataclass
class Params(BaseParams):
    """Of SHADE.

    Attributes:
      best_share: largest share of the population that counts as best (p is uniform over [2/P, it]).
      initial_weight, initial_rate: the history at the start.
    """

    best_share: float
    initial_weight: float
    initial_rate: float


class SHADE(adaptive.AdaptiveDE):
    """Success-history based differential evolution, current-to-pbest/1/bin with an archive.

    Args:
      population_size, solution, archive_rate, fitness_shaping_fn, metrics_fn: as its base's.
      memory_size: H, entries of the history; P if None, as in the paper (100 and 100).
    """

    def __init__(
        self,
        population_size: int,
        solution: jax.Array,
        archive_rate: float = 1.0,
        memory_size: int | None = None,
        fitness_shaping_fn: Callable = identity_fitness_shaping_fn,
        metrics_fn: Callable = metrics_fn,
    ):
        super().__init__(population_size, solution, archive_rate, fitness_shaping_fn, metrics_fn)
        self.memory_size = population_size if memory_size is None else memory_size

    @property
    def _default_params(self) -> Params:
        return Params(best_share=0.2, initial_weight=0.5, initial_rate=0.5)

    @classmethod
    def param_ranges(cls, population_size: int) -> dict[str, tuple[float, float]]:
        """Check that shares and locations are in [0, 1]; the archive holds up to 10 populations."""
        names = ("best_share", "initial_weight", "initial_rate")
        limits = {"archive_rate": (0.0, 10.0), "memory_size": (1, 10_000)}
        return dict.fromkeys(names, (0.0, 1.0)) | limits

    def _init(self, key: jax.Array, params: Params) -> State:
        return State(
            **self._blank(),
            archive=self._empty_archive(),
            memory_weight=jnp.full(self.memory_size, params.initial_weight, jnp.float32),
            memory_rate=jnp.full(self.memory_size, params.initial_rate, jnp.float32),
            slot=jnp.int32(0),
        )

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[jax.Array, State]:
        slot_key, rate_key, weight_key, best_key, mutate_key, cross_key = jax.random.split(key, 6)
        size = self.population_size
        slot_P = jax.random.randint(slot_key, (size,), 0, self.memory_size)
        rate_P = adaptive.draw_rate(rate_key, state.memory_rate[slot_P])
        weight_P = adaptive.draw_weight(weight_key, state.memory_weight[slot_P])
        least = 2.0 / size
        most = jnp.maximum(params.best_share, least)
        share_P = jax.random.uniform(best_key, (size,), minval=least, maxval=most)
        mutants_PN = adaptive.current_to_pbest(
            mutate_key,
            state.population,
            state.fitness,
            state.archive,
            weight_P=weight_P,
            top_P=adaptive.top_count(share_P, size),
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
        moves_P = fitness <= state.fitness
        # To beat a failure teaches nothing.
        success_P = (fitness < state.fitness) & jnp.isfinite(state.fitness)
        share_P = adaptive.improvements(state.fitness, fitness, success_P)
        any_success = jnp.any(success_P)
        slot = state.slot
        new_weight = adaptive.lehmer_mean(state.trial_weight, share_P)
        new_rate = adaptive.mean(state.trial_rate, share_P)
        new_weight = jnp.where(any_success, new_weight, state.memory_weight[slot])
        new_rate = jnp.where(any_success, new_rate, state.memory_rate[slot])
        return state.replace(
            population=jnp.where(moves_P[:, None], population, state.population),
            fitness=jnp.where(moves_P, fitness, state.fitness),
            archive=adaptive.archived(
                key,
                state.archive,
                state.population,
                success_P,
                self._capacity(self.population_size),
            ),
            memory_weight=state.memory_weight.at[slot].set(new_weight),
            memory_rate=state.memory_rate.at[slot].set(new_rate),
            slot=jnp.where(any_success, (slot + 1) % self.memory_size, slot),
            replaced=jnp.sum(moves_P, dtype=jnp.int32),
        )
