"""An archive of parents that lost, and the differential evolution that draws on it (JADE).

J. Zhang, A. C. Sanderson: JADE: Adaptive Differential Evolution With Optional External Archive.
IEEE Transactions on Evolutionary Computation 13(5), 2009. Letters are as in `adaptive`.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxalign.search.adaptive import AdaptiveDE, Fields, Keys, others


@struct.dataclass
class Archive:
    """Hold parents that lost to their trial: of `vectors` `[A, N]` those that are `held` `[A]`.

    A vector stays in its row until it leaves, so that an update writes only the new ones.
    """

    vectors: jax.Array
    held: jax.Array


class ArchiveDE(AdaptiveDE):
    """Move by current-to-pbest/1/bin, with an archive of parents that lost.

    A subclass has `_drawn` and `_means(fitness_P, success_P, state, params)`, the new means of F
    and CR by field of the state.

    Args:
      population_size, solution, options: as its base's.
      archive_rate: size of the archive as a multiple of P; 0 for no archive.
    """

    def __init__(
        self, population_size: int, solution: jax.Array, archive_rate: float = 1.0, **options: Any
    ):
        super().__init__(population_size, solution, **options)
        self.archive_rate = archive_rate

    def _first(self, params: Any) -> Fields:
        rows = max(1, math.ceil(self.archive_rate * self.population_size))  # XLA needs one to read
        archive = Archive(jnp.zeros((rows, self.num_dims), jnp.float32), jnp.zeros(rows, bool))
        return super()._first(params) | {"archive": archive}

    def _mutants(self, keys: Keys, state: Any, params: Any, weight_P: jax.Array) -> jax.Array:
        count = self._count(state)
        return current_to_pbest(
            keys["mutate"],
            state.population,
            state.fitness,
            state.archive,
            weight_P=weight_P,
            top_P=top_count(self._best_share(keys, params), count),
            count=count,
        )

    def _learned(self, key: jax.Array, fitness_P: jax.Array, state: Any, params: Any) -> Fields:
        # To beat a failure teaches nothing.
        success_P = (fitness_P < state.fitness) & jnp.isfinite(state.fitness)
        members = jnp.asarray(self._next_count(state, params), jnp.float32)
        capacity = jnp.round(self.archive_rate * members).astype(jnp.int32)
        archive = archived(key, state.archive, state.population, success_P, capacity)
        return self._means(fitness_P, success_P, state, params) | {"archive": archive}

    def _count(self, state: Any) -> int | jax.Array:
        """Return the number of members."""
        return self.population_size

    def _next_count(self, state: Any, params: Any) -> int | jax.Array:
        """Return the number of members after this `tell`."""
        return self.population_size

    def _best_share(self, keys: Keys, params: Any) -> jax.Array:
        """Return the share `[P]` of members among which each trial's best one is drawn."""
        return jnp.full(self.population_size, params.best_share)


def current_to_pbest(
    key: jax.Array,
    population_PN: jax.Array,
    fitness_P: jax.Array,
    archive: Archive,
    *,
    weight_P: jax.Array,
    top_P: jax.Array,
    count: int | jax.Array,
) -> jax.Array:
    """Return mutants `x + F (x_pbest - x) + F (x_r1 - x_r2)` (JADE, Zhang & Sanderson 2009, eq. 7).

    `x_pbest` is one of the `top_P` best, `x_r1` another member, `x_r2` another member still or one
    of the archive. Of the rows only the first `count` are members. The key is consumed.
    """
    best_key, member_key, either_key = jax.random.split(key, 3)
    own_P = jnp.arange(population_PN.shape[0])
    order_P = jnp.argsort(fitness_P)
    rank_P = jax.random.randint(best_key, own_P.shape, 0, top_P)
    target_PN = population_PN[order_P[rank_P]]
    member_P = others(member_key, [own_P], count)
    either_P = others(either_key, [own_P, member_P], count + jnp.sum(archive.held))
    held_first = jnp.argsort(~archive.held)
    second_PN = jnp.where(
        (either_P < count)[:, None],
        population_PN[jnp.minimum(either_P, count - 1)],
        archive.vectors[held_first[jnp.maximum(either_P - count, 0)]],
    )
    step_PN = target_PN - population_PN + population_PN[member_P] - second_PN
    return population_PN + weight_P[:, None] * step_PN


def top_count(share_P: jax.Array, count: int | jax.Array) -> jax.Array:
    """Return the number of best members: a share of `count`, at least 2, as published."""
    return jnp.clip(jnp.round(share_P * count).astype(jnp.int32), 2, count)


def archived(
    key: jax.Array,
    archive: Archive,
    vectors_PN: jax.Array,
    enters_P: jax.Array,
    capacity: int | jax.Array,
) -> Archive:
    """Return the archive with new vectors, cut to its capacity by leaving out uniformly drawn ones.

    The key is consumed.
    """
    rows = archive.held.shape[0]
    wanted = jnp.concatenate([archive.held, enters_P])
    order = jnp.argsort(jnp.where(wanted, jax.random.uniform(key, wanted.shape), 2.0))
    drawn = jnp.zeros_like(wanted).at[order].set(jnp.arange(wanted.size) < capacity) & wanted
    stays, enters_P = drawn[:rows], drawn[rows:]
    free = jnp.argsort(stays)  # rows that are not held come first
    row_P = jnp.where(enters_P, free[jnp.cumsum(enters_P) - 1], rows)
    return Archive(
        archive.vectors.at[row_P].set(vectors_PN, mode="drop"),
        stays.at[row_P].set(True, mode="drop"),
    )
