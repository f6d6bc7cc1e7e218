"""JADE: F and CR are drawn around the mean of those that worked, with an archive of parents.

J. Zhang, A. C. Sanderson: JADE: Adaptive Differential Evolution With Optional External Archive.
IEEE Transactions on Evolutionary Computation 13(5), 2009.
"""

import jax
import jax.numpy as jnp
from evosax.algorithms.population_based.base import Params as BaseParams
from flax import struct

from jaxalign.search import adaptive
from jaxalign.search.archive import Archive, ArchiveDE


@struct.dataclass
class State(adaptive.State):
    """Hold the state of JADE.

    Attributes:
      archive: parents that lost, at most `archive_rate` × P of them.
      mean_weight, mean_rate: the locations mu_F and mu_CR, in [0, 1].
    """

    archive: Archive
    mean_weight: jax.Array
    mean_rate: jax.Array


@struct.dataclass
class Params(BaseParams):
    """Hold the parameters of JADE.

    Attributes:
      best_share: p, share of the population that counts as best.
      learning_rate: c, how fast the two means follow; 0 keeps them.
      initial_weight, initial_rate: mu_F and mu_CR at the start.
    """

    best_share: float
    learning_rate: float
    initial_weight: float
    initial_rate: float


class JADE(ArchiveDE):
    """Adaptive differential evolution, current-to-pbest/1/bin with an archive of P parents."""

    state_class = State
    key_names = ("rate", "weight", "mutate", "cross")

    @property
    def _default_params(self) -> Params:
        return Params(best_share=0.05, learning_rate=0.1, initial_weight=0.5, initial_rate=0.5)

    @classmethod
    def param_ranges(cls, population_size: int) -> dict[str, tuple[float, float]]:
        """Require shares; the archive holds up to 10 populations."""
        names = ("best_share", "learning_rate", "initial_weight", "initial_rate")
        return dict.fromkeys(names, (0.0, 1.0)) | {"archive_rate": (0.0, 10.0)}

    def _first(self, params: Params) -> adaptive.Fields:
        return super()._first(params) | {
            "mean_weight": jnp.asarray(params.initial_weight, jnp.float32),
            "mean_rate": jnp.asarray(params.initial_rate, jnp.float32),
        }

    def _drawn(self, keys: adaptive.Keys, state: State, params: Params) -> adaptive.Pair:
        weight_P = jnp.full(self.population_size, state.mean_weight)
        rate_P = jnp.full(self.population_size, state.mean_rate)
        return (
            adaptive.draw_weight(keys["weight"], weight_P),
            adaptive.draw_rate(keys["rate"], rate_P),
        )

    def _moves(self, fitness_P: jax.Array, state: State) -> jax.Array:
        return fitness_P < state.fitness

    def _means(
        self, fitness_P: jax.Array, success_P: jax.Array, state: State, params: Params
    ) -> adaptive.Fields:
        # Eqs. 9 and 11; a generation without success leaves the means alone.
        step = jnp.where(jnp.any(success_P), params.learning_rate, 0.0)
        new_weight = adaptive.lehmer_mean(state.trial_weight, success_P)
        new_rate = adaptive.mean(state.trial_rate, success_P)
        return {
            "mean_weight": (1.0 - step) * state.mean_weight + step * new_weight,
            "mean_rate": (1.0 - step) * state.mean_rate + step * new_rate,
        }
