"""What the adaptive differential evolutions share: the skeleton, and pure functions over arrays.

N is the number of coordinates of a flat candidate. Over N everything is elementwise, so that a
population that is sharded over its coordinates needs no collective. In time and memory everything
is O(P × N); partners are drawn as indices, in O(P).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from evosax.algorithms.population_based.base import PopulationBasedAlgorithm
from evosax.algorithms.population_based.base import State as BaseState
from flax import struct

LEAST = 4  # members: a parent, a base and two more
SPREAD = 0.1  # of the Cauchy and normal laws of F and CR, in JADE and in all that came after


Keys = dict[str, jax.Array]  # by what they are for
Fields = dict[str, Any]  # of a state
Pair = tuple[jax.Array, jax.Array]  # F and CR of P trials


@struct.dataclass
class State(BaseState):
    """Hold what every differential evolution of ours carries on.

    Attributes:
      population, fitness: members `[P, N]` and their losses `[P]`, +inf for a failed one.
      best_solution, best_fitness, generation_counter: as in evosax.
      trial_weight, trial_rate: F and CR `[P]` of the candidates that were asked for last.
      replaced: how many members the last `tell` replaced.
    """

    trial_weight: jax.Array
    trial_rate: jax.Array
    replaced: jax.Array


class AdaptiveDE(PopulationBasedAlgorithm):
    """Minimise by differential evolution that adapts F and CR.

    A subclass has `_drawn(keys, state, params)`, F and CR `[P]` of the next trials;
    `_mutants(keys, state, params, weight_P)`, the vectors `[P, N]` that members are crossed with;
    and `_learned(key, fitness_P, state, params)`, what changes in the state beside the members.

    Args:
      population_size: P, 4 or more.
      solution: any array of a candidate's shape.
      options: as in evosax.

    Attributes:
      state_class: the state.
      key_names: what the key of `ask` is split for, in this order.
    """

    state_class: ClassVar[type]
    key_names: ClassVar[tuple[str, ...]]

    def __init__(self, population_size: int, solution: jax.Array, **options: Any):
        if population_size < LEAST:
            raise ValueError(f"population_size={population_size}: needs at least {LEAST}")
        super().__init__(population_size, solution, **options)

    def _init(self, key: jax.Array, params: Any) -> Any:
        return self.state_class(**self._first(params))

    def _first(self, params: Any) -> Fields:
        """Return the state before the initial population is known."""
        size, width = self.population_size, self.num_dims
        return {
            "population": jnp.zeros((size, width), jnp.float32),
            "fitness": jnp.full(size, jnp.inf, jnp.float32),
            "best_solution": jnp.zeros(width, jnp.float32),
            "best_fitness": jnp.float32(jnp.inf),
            "generation_counter": jnp.int32(0),
            "trial_weight": jnp.zeros(size, jnp.float32),
            "trial_rate": jnp.zeros(size, jnp.float32),
            "replaced": jnp.int32(0),
        }

    def _ask(self, key: jax.Array, state: Any, params: Any) -> tuple[jax.Array, Any]:
        keys = dict(zip(self.key_names, jax.random.split(key, len(self.key_names)), strict=True))
        weight_P, rate_P = self._drawn(keys, state, params)
        mutants_PN = self._mutants(keys, state, params, weight_P)
        trials_PN = crossover(keys["cross"], state.population, mutants_PN, rate_P)
        return trials_PN, state.replace(trial_weight=weight_P, trial_rate=rate_P)

    def _tell(
        self, key: jax.Array, population: jax.Array, fitness: jax.Array, state: Any, params: Any
    ) -> Any:
        moves_P = self._moves(fitness, state)
        return state.replace(
            population=jnp.where(moves_P[:, None], population, state.population),
            fitness=jnp.where(moves_P, fitness, state.fitness),
            replaced=jnp.sum(moves_P, dtype=jnp.int32),
            **self._learned(key, fitness, state, params),
        )

    def _moves(self, fitness_P: jax.Array, state: Any) -> jax.Array:
        """Return whether each trial takes its parent's place."""
        return fitness_P <= state.fitness


def others(key: jax.Array, taken: Sequence[jax.Array], count: int | jax.Array) -> jax.Array:
    """Draw uniform indices `[P]` below `count` that differ, row by row, from all those taken.

    Exact and free of rejection: an index among the free ones is shifted past each taken one. The
    same one may be taken twice. The key is consumed.
    """
    taken_KP = jnp.sort(jnp.stack(taken), axis=0)
    first_KP = jnp.ones_like(taken_KP, bool).at[1:].set(taken_KP[1:] != taken_KP[:-1])
    free_P = count - jnp.sum(first_KP, axis=0)
    index_P = jax.random.randint(key, free_P.shape, 0, free_P)
    for taken_P, first_P in zip(taken_KP, first_KP, strict=True):
        index_P += first_P & (taken_P <= index_P)
    return index_P


def crossover(
    key: jax.Array, parents_PN: jax.Array, mutants_PN: jax.Array, rate_P: jax.Array
) -> jax.Array:
    """Cross over binomially: each coordinate is the mutant's with probability CR, one always.

    16 random bits a coordinate: random numbers are most of what `ask` costs on a CPU, and the
    probability is still exact to 2^-17. The key is consumed.
    """
    rows, width = parents_PN.shape
    key, forced_key = jax.random.split(key)
    words = jax.random.bits(key, (rows, -(-width // 2)), jnp.uint32)
    bits_PN = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(rows, -1)[:, :width]
    crosses_PN = bits_PN.astype(jnp.float32) + 0.5 < 2.0**16 * rate_P[:, None]
    forced_P = jax.random.randint(forced_key, (rows,), 0, width)
    crosses_PN |= jnp.arange(width)[None, :] == forced_P[:, None]
    return jnp.where(crosses_PN, mutants_PN, parents_PN)


def draw_weight(key: jax.Array, location_P: jax.Array) -> jax.Array:
    """Draw F from a Cauchy law of scale 0.1, again while it is not positive, and cut at 1.

    By the inverse of the distribution function over its part above 0, which is the very law of
    drawing again without a loop (JADE, eq. 10). The key is consumed.
    """
    below_P = 0.5 + jnp.arctan(-location_P / SPREAD) / jnp.pi
    above_P = 0.5 + jnp.arctan((1.0 - location_P) / SPREAD) / jnp.pi
    level_P = below_P + (1.0 - below_P) * jax.random.uniform(key, location_P.shape)
    # Above the cut the tangent would pass its pole, where it changes sign.
    angle_P = jnp.pi * (jnp.minimum(level_P, above_P) - 0.5)
    value_P = location_P + SPREAD * jnp.tan(angle_P)
    return jnp.where(level_P >= above_P, 1.0, jnp.clip(value_P, jnp.finfo(jnp.float32).tiny, 1.0))


def draw_rate(key: jax.Array, location_P: jax.Array) -> jax.Array:
    """Draw CR from a normal law of deviation 0.1, cut to [0, 1] (JADE, eq. 8). Consumes the key."""
    return jnp.clip(location_P + SPREAD * jax.random.normal(key, location_P.shape), 0.0, 1.0)


def improvements(before_P: jax.Array, after_P: jax.Array, success_P: jax.Array) -> jax.Array:
    """Return weights `[P]` of the successes by how much the loss fell; 0 for all else.

    As parts of the largest one, so that neither tiny nor huge losses leave float32.
    """
    fall_P = jnp.where(success_P, before_P - after_P, 0.0)
    largest = jnp.max(fall_P)
    usable = (largest > 0) & jnp.isfinite(largest)
    return jnp.where(usable, fall_P / jnp.where(usable, largest, 1.0), success_P)


def mean(values_P: jax.Array, share_P: jax.Array) -> jax.Array:
    """Return the weighted arithmetic mean; 0 where all weights are 0."""
    total = jnp.sum(share_P)
    return jnp.sum(share_P * values_P) / jnp.where(total > 0, total, 1.0)


def lehmer_mean(values_P: jax.Array, share_P: jax.Array) -> jax.Array:
    """Return the weighted Lehmer mean `Σ w v² / Σ w v` (JADE, eq. 12); 0 where it has no value."""
    total = jnp.sum(share_P * values_P)
    return jnp.sum(share_P * values_P**2) / jnp.where(total > 0, total, 1.0)
