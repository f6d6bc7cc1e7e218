"""jDE: every member carries its own F and CR, and passes them on when its trial survives.

J. Brest, S. Greiner, B. Bošković, M. Mernik, V. Žumer: Self-Adapting Control Parameters in
Differential Evolution. IEEE Transactions on Evolutionary Computation 10(6), 2006, section IV.
"""

import jax
import jax.numpy as jnp
from evosax.algorithms.population_based.base import Params as BaseParams
from flax import struct

from jaxalign.search import adaptive


@struct.dataclass
class State(adaptive.State):
    """Hold, beside the members `[P, N]`, the `weight` F and `rate` CR `[P]` of each."""

    weight: jax.Array
    rate: jax.Array


@struct.dataclass
class Params(BaseParams):
    """Hold the parameters of jDE.

    Attributes:
      elitism: the base vector is the best member, and not a random one (published: false).
      weight_low, weight_range: a new F is uniform over [low, low + range] (F_l, F_u).
      weight_change, rate_change: probability that F or CR is drawn again (tau_1, tau_2).
      initial_weight, initial_rate: F and CR of the first members.
    """

    elitism: bool
    weight_low: float
    weight_range: float
    weight_change: float
    rate_change: float
    initial_weight: float
    initial_rate: float


class jDE(adaptive.AdaptiveDE):
    """Self-adapting differential evolution, rand/1/bin or best/1/bin (Brest et al. 2006)."""

    state_class = State
    key_names = ("change", "base", "plus", "minus", "cross")

    @property
    def _default_params(self) -> Params:
        return Params(
            elitism=False,
            weight_low=0.1,
            weight_range=0.9,
            weight_change=0.1,
            rate_change=0.1,
            initial_weight=0.5,
            initial_rate=0.9,
        )

    @classmethod
    def param_ranges(cls, population_size: int) -> dict[str, tuple[float, float]]:
        """Require weights in [0, 2] and probabilities."""
        weights = ("weight_low", "weight_range", "initial_weight")
        rates = ("weight_change", "rate_change", "initial_rate")
        return dict.fromkeys(weights, (0.0, 2.0)) | dict.fromkeys(rates, (0.0, 1.0))

    def _first(self, params: Params) -> adaptive.Fields:
        return super()._first(params) | {
            "weight": jnp.full(self.population_size, params.initial_weight, jnp.float32),
            "rate": jnp.full(self.population_size, params.initial_rate, jnp.float32),
        }

    def _drawn(self, keys: adaptive.Keys, state: State, params: Params) -> adaptive.Pair:
        draws_4P = jax.random.uniform(keys["change"], (4, self.population_size))
        new_weight_P = params.weight_low + draws_4P[0] * params.weight_range
        weight_P = jnp.where(draws_4P[1] < params.weight_change, new_weight_P, state.weight)
        return weight_P, jnp.where(draws_4P[3] < params.rate_change, draws_4P[2], state.rate)

    def _mutants(
        self, keys: adaptive.Keys, state: State, params: Params, weight_P: jax.Array
    ) -> jax.Array:
        size, members_PN = self.population_size, state.population
        own_P = jnp.arange(size)
        random_P = adaptive.others(keys["base"], [own_P], size)
        base_P = jnp.where(params.elitism, jnp.argmin(state.fitness), random_P)
        plus_P = adaptive.others(keys["plus"], [own_P, base_P], size)
        minus_P = adaptive.others(keys["minus"], [own_P, base_P, plus_P], size)
        difference_PN = members_PN[plus_P] - members_PN[minus_P]
        return members_PN[base_P] + weight_P[:, None] * difference_PN

    def _learned(
        self, key: jax.Array, fitness_P: jax.Array, state: State, params: Params
    ) -> adaptive.Fields:
        moves_P = self._moves(fitness_P, state)
        return {
            "weight": jnp.where(moves_P, state.trial_weight, state.weight),
            "rate": jnp.where(moves_P, state.trial_rate, state.rate),
        }
