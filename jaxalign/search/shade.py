"""SHADE: F and CR are drawn around one of several remembered means of those that worked.

R. Tanabe, A. Fukunaga: Success-History Based Parameter Adaptation for Differential Evolution.
IEEE Congress on Evolutionary Computation, 2013, section III.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from evosax.algorithms.population_based.base import Params as BaseParams
from flax import struct

from jaxalign.search import adaptive
from jaxalign.search.archive import Archive, ArchiveDE


@struct.dataclass
class State(adaptive.State):
    """Hold the state of SHADE.

    Attributes:
      archive: parents that lost, at most `archive_rate` × P of them.
      memory_weight, memory_rate: the history `[H]` of F and CR (M_F, M_CR), in [0, 1].
      slot: the entry of the history that is written next (k).
    """

    archive: Archive
    memory_weight: jax.Array
    memory_rate: jax.Array
    slot: jax.Array


@struct.dataclass
class Params(BaseParams):
    """Hold the parameters of SHADE.

    Attributes:
      best_share: largest share of the population that counts as best (p is uniform over [2/P, it]).
      initial_weight, initial_rate: the history at the start.
    """

    best_share: float
    initial_weight: float
    initial_rate: float


class SHADE(ArchiveDE):
    """Success-history based differential evolution, current-to-pbest/1/bin with an archive.

    Args:
      population_size, solution, archive_rate, options: as its base's.
      memory_size: H, entries of the history; P if None, as in the paper (100 and 100).
    """

    state_class: ClassVar[type] = State
    key_names: ClassVar[tuple[str, ...]] = ("slot", "rate", "weight", "best", "mutate", "cross")
    rate_mean = staticmethod(adaptive.mean)

    def __init__(
        self,
        population_size: int,
        solution: jax.Array,
        archive_rate: float = 1.0,
        memory_size: int | None = None,
        **options: Any,
    ):
        super().__init__(population_size, solution, archive_rate, **options)
        self.memory_size = population_size if memory_size is None else memory_size

    @property
    def _default_params(self) -> Params:
        return Params(best_share=0.2, initial_weight=0.5, initial_rate=0.5)

    @classmethod
    def param_ranges(cls, population_size: int) -> dict[str, tuple[float, float]]:
        """Require shares and locations in [0, 1]; the archive holds up to 10 populations."""
        names = ("best_share", "initial_weight", "initial_rate")
        limits = {"archive_rate": (0.0, 10.0), "memory_size": (1, 10_000)}
        return dict.fromkeys(names, (0.0, 1.0)) | limits

    def _first(self, params: Any) -> adaptive.Fields:
        return super()._first(params) | {
            "memory_weight": jnp.full(self.memory_size, params.initial_weight, jnp.float32),
            "memory_rate": jnp.full(self.memory_size, params.initial_rate, jnp.float32),
            "slot": jnp.int32(0),
        }

    def _drawn(self, keys: adaptive.Keys, state: State, params: Params) -> adaptive.Pair:
        slot_P = self._slots(keys)
        return (
            adaptive.draw_weight(keys["weight"], state.memory_weight[slot_P]),
            adaptive.draw_rate(keys["rate"], state.memory_rate[slot_P]),
        )

    def _slots(self, keys: adaptive.Keys) -> jax.Array:
        """Return the entry of the history `[P]` that each trial draws from."""
        return jax.random.randint(keys["slot"], (self.population_size,), 0, self.memory_size)

    def _best_share(self, keys: adaptive.Keys, params: Params) -> jax.Array:
        least = 2.0 / self.population_size
        most = jnp.maximum(params.best_share, least)
        return jax.random.uniform(keys["best"], (self.population_size,), minval=least, maxval=most)

    def _means(
        self, fitness_P: jax.Array, success_P: jax.Array, state: Any, params: Params
    ) -> adaptive.Fields:
        """Write one entry of the history, if anything succeeded."""
        slot, learns = state.slot, jnp.any(success_P)
        share_P = adaptive.improvements(state.fitness, fitness_P, success_P)
        new_weight = adaptive.lehmer_mean(state.trial_weight, share_P)
        new_rate = self.rate_mean(state.trial_rate, share_P)
        new_weight = jnp.where(learns, new_weight, state.memory_weight[slot])
        new_rate = jnp.where(learns, new_rate, state.memory_rate[slot])
        return {
            "memory_weight": state.memory_weight.at[slot].set(new_weight),
            "memory_rate": state.memory_rate.at[slot].set(new_rate),
            "slot": jnp.where(learns, (slot + 1) % self.memory_size, slot),
        }
