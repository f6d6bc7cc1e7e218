"""L-SHADE: SHADE whose population shrinks linearly with the evaluations spent.

R. Tanabe, A. Fukunaga: Improving the Search Performance of SHADE Using Linear Population Size
Reduction. IEEE Congress on Evolutionary Computation, 2014, section II.

Arrays keep all P rows, so that nothing is compiled again: the members are always the first `size`
rows. Only as many candidates of an `ask` count; the others are copies, and their losses are not
looked at.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from evosax.algorithms.population_based.base import Params as BaseParams
from flax import struct

from jaxalign.search import adaptive
from jaxalign.search.archive import Archive, ArchiveDE
from jaxalign.search.shade import SHADE


@struct.dataclass
class State(adaptive.State):
    """Hold the state of L-SHADE.

    Attributes:
      population, fitness: of the P rows only the first `size` count; the others' losses are +inf.
      archive: parents that lost, at most `archive_rate` × size of them.
      memory_weight, memory_rate: the history `[H]` of F and CR (M_F, M_CR), in [0, 1].
      closed: entries `[H]` whose CR is 0 for good (the terminal value of M_CR).
      slot: the entry of the history that is written next (k).
      size: members now. evaluations: spent so far (NFE), the initial population's included.
      gone, carry: whole and left-over part of (P - 4) × NFE / MAX_NFE, carried on since int32
        cannot hold that product; the left-over part is in units of 1 / MAX_NFE.
    """

    archive: Archive
    memory_weight: jax.Array
    memory_rate: jax.Array
    closed: jax.Array
    slot: jax.Array
    size: jax.Array
    evaluations: jax.Array
    gone: jax.Array
    carry: jax.Array


@struct.dataclass
class Params(BaseParams):
    """Hold the parameters of L-SHADE.

    Attributes:
      best_share: p, share of the members that counts as best.
      max_evaluations: MAX_NFE, after which 4 members are left and stay.
      initial_weight, initial_rate: the history at the start.
    """

    best_share: float
    max_evaluations: int
    initial_weight: float
    initial_rate: float


class LSHADE(SHADE):
    """SHADE with linear population size reduction, current-to-pbest/1/bin with an archive.

    Args:
      population_size: P, members at the start.
      solution, archive_rate, options: as its base's.
      memory_size: H, entries of the history.
      generations: over which the population shrinks, unless `max_evaluations` says otherwise.
    """

    state_class = State
    key_names = ("slot", "rate", "weight", "mutate", "cross")
    rate_mean = staticmethod(adaptive.lehmer_mean)
    _best_share = ArchiveDE._best_share  # of the members, and the same for all

    def __init__(
        self,
        population_size: int,
        solution: jax.Array,
        archive_rate: float = 2.6,
        memory_size: int = 6,
        *,
        generations: int = 100,
        **options: Any,
    ):
        super().__init__(population_size, solution, archive_rate, memory_size, **options)
        self.generations = generations

    @property
    def _default_params(self) -> Params:
        return Params(
            best_share=0.11,
            max_evaluations=lshade_evaluations(self.population_size, self.generations),
            initial_weight=0.5,
            initial_rate=0.5,
        )

    @classmethod
    def param_ranges(cls, population_size: int) -> dict[str, tuple[float, float]]:
        """Require shares and locations in [0, 1] and a schedule that fits int32."""
        names = ("best_share", "initial_weight", "initial_rate")
        return dict.fromkeys(names, (0.0, 1.0)) | {
            "archive_rate": (0.0, 10.0),
            "memory_size": (1, 10_000),
            "max_evaluations": (population_size, 2**31 - 1 - population_size**2),
        }

    def _first(self, params: Params) -> adaptive.Fields:
        size, nothing = jnp.int32(self.population_size), jnp.int32(0)
        gone, carry = self._progress(nothing, nothing, size, params)
        return super()._first(params) | {
            "closed": jnp.zeros(self.memory_size, bool),
            "size": size,
            "evaluations": size,
            "gone": gone,
            "carry": carry,
        }

    @partial(jax.jit, static_argnames=("self",))
    def tell(
        self,
        key: jax.Array,
        population: jax.Array,
        fitness: jax.Array,
        state: State,
        params: Params,
    ) -> tuple[State, Any]:
        """Update the state as evosax does, blind to the candidates that do not count."""
        fitness = jnp.where(self._counts(state), fitness, jnp.inf)
        return super().tell(key, population, fitness, state, params)

    def _drawn(self, keys: adaptive.Keys, state: State, params: Params) -> adaptive.Pair:
        weight_P, rate_P = super()._drawn(keys, state, params)
        return weight_P, jnp.where(state.closed[self._slots(keys)], 0.0, rate_P)  # eqs. 2 and 1

    def _mutants(
        self, keys: adaptive.Keys, state: State, params: Params, weight_P: jax.Array
    ) -> jax.Array:
        mutants_PN = super()._mutants(keys, state, params, weight_P)
        return jnp.where(self._counts(state)[:, None], mutants_PN, state.population)

    def _tell(
        self,
        key: jax.Array,
        population: jax.Array,
        fitness: jax.Array,
        state: State,
        params: Params,
    ) -> State:
        told = super()._tell(key, population, fitness, state, params)
        gone, carry = self._progress(state.gone, state.carry, state.size, params)
        size = self._next_count(state, params)
        # The best stay, in their order and closed up. Rows beyond are never read again.
        stays_P = jnp.argsort(jnp.argsort(told.fitness)) < size
        source_P = jnp.argsort(~stays_P)
        members_P = jnp.arange(self.population_size) < size
        return told.replace(
            population=told.population[source_P],
            fitness=jnp.where(members_P, told.fitness[source_P], jnp.inf),
            size=size,
            evaluations=state.evaluations + state.size,
            gone=gone,
            carry=carry,
        )

    def _moves(self, fitness_P: jax.Array, state: State) -> jax.Array:
        return self._counts(state) & super()._moves(fitness_P, state)

    def _means(
        self, fitness_P: jax.Array, success_P: jax.Array, state: State, params: Params
    ) -> adaptive.Fields:
        """Write one entry of the history, if anything succeeded (algorithm 1, eqs. 7 to 9)."""
        means = super()._means(fitness_P, success_P, state, params)
        slot, rate = state.slot, means["memory_rate"]
        highest = jnp.max(jnp.where(success_P, state.trial_rate, 0.0))
        closed = state.closed[slot] | (jnp.any(success_P) & (highest == 0.0))
        return means | {
            "memory_rate": rate.at[slot].set(jnp.where(closed, 0.0, rate[slot])),
            "closed": state.closed.at[slot].set(closed),
        }

    def _counts(self, state: State) -> jax.Array:
        """Return whether each row is a member."""
        return jnp.arange(self.population_size) < state.size

    def _count(self, state: State) -> jax.Array:
        return state.size

    def _next_count(self, state: State, params: Params) -> jax.Array:
        gone, carry = self._progress(state.gone, state.carry, state.size, params)
        left = carry > params.max_evaluations - carry  # more than half a member: rounded
        return jnp.maximum(self.population_size - gone - left, adaptive.LEAST)  # eq. 10

    def _progress(
        self, gone: jax.Array, carry: jax.Array, spent: jax.Array, params: Params
    ) -> tuple[jax.Array, jax.Array]:
        """Return whole and left-over members that should be gone after so many evaluations more."""
        carry += (self.population_size - adaptive.LEAST) * spent
        return gone + carry // params.max_evaluations, carry % params.max_evaluations


def lshade_sizes(population: int, max_evaluations: int) -> Iterator[int]:
    """Yield the candidates of each generation until all evaluations are spent, the initial first.

    `N = round(N_init + (N_min - N_init) × NFE / MAX_NFE)` after each generation but the initial
    one, half a member rounded up (eq. 10). The last generation may exceed the maximum.
    """
    yield population
    spent = size = population
    while spent < max_evaluations:
        yield size
        spent += size
        gone, carry = divmod((population - adaptive.LEAST) * spent, max_evaluations)
        size = max(adaptive.LEAST, population - gone - (2 * carry > max_evaluations))


def lshade_evaluations(population: int, generations: int) -> int:
    """Return the largest `max_evaluations` of so many generations after the initial population."""
    low, high = population, population * (generations + 1)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(1 for _ in lshade_sizes(population, middle)) > generations + 1:
            high = middle - 1
        else:
            low = middle
    return low
