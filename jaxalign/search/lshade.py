"""L-SHADE: SHADE whose population shrinks linearly with the evaluations spent.

R. Tanabe, A. Fukunaga: Improving the Search Performance of SHADE Using Linear Population Size
Reduction. IEEE Congress on Evolutionary Computation, 2014, section II.

Arrays keep all P rows, so that nothing is compiled again: the members are always the first `size`
rows. Only as many candidates of an `ask` count; the others are copies, and their losses are not
looked at.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from evosax.algorithms.base import metrics_fn
from evosax.algorithms.population_based.base import Params as BaseParams
from evosax.core.fitness_shaping import identity_fitness_shaping_fn
from flax import struct

from jaxalign.search import adaptive


@struct.dataclass
class State(adaptive.State):
    """Of L-SHADE.

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

    archive: adaptive.Archive
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
    """Of L-SHADE.

    Attributes:
      best_share: p, share of the members that counts as best.
      max_evaluations: MAX_NFE, after which 4 members are left and stay.
      initial_weight, initial_rate: the history at the start.
    """

    best_share: float
    max_evaluations: int
    initial_weight: float
    initial_rate: float


class LSHADE(adaptive.AdaptiveDE):
    """SHADE with linear population size reduction, current-to-pbest/1/bin with an archive.

    Args:
      population_size: P, members at the start.
      solution, archive_rate, fitness_shaping_fn, metrics_fn: as its base's.
      memory_size: H, entries of the history.
      generations: over which the population shrinks, unless `max_evaluations` says otherwise.
    """

    def __init__(
        self,
        population_size: int,
        solution: jax.Array,
        archive_rate: float = 2.6,
        memory_size: int = 6,
        *,
        generations: int = 100,
        fitness_shaping_fn: Callable = identity_fitness_shaping_fn,
        metrics_fn: Callable = metrics_fn,
    ):
        super().__init__(population_size, solution, archive_rate, fitness_shaping_fn, metrics_fn)
        self.memory_size = memory_size
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
        """Check that shares and locations are in [0, 1] and that the schedule fits int32."""
        names = ("best_share", "initial_weight", "initial_rate")
        return dict.fromkeys(names, (0.0, 1.0)) | {
            "archive_rate": (0.0, 10.0),
            "memory_size": (1, 10_000),
            "max_evaluations": (population_size, 2**31 - 1 - population_size**2),
        }

    def _init(self, key: jax.Array, params: Params) -> State:
        size, nothing = self.population_size, jnp.int32(0)
        gone, carry = self._progress(nothing, nothing, jnp.int32(size), params)
        return State(
            **self._blank(),
            archive=self._empty_archive(),
            memory_weight=jnp.full(self.memory_size, params.initial_weight, jnp.float32),
            memory_rate=jnp.full(self.memory_size, params.initial_rate, jnp.float32),
            closed=jnp.zeros(self.memory_size, bool),
            slot=jnp.int32(0),
            size=jnp.int32(size),
            evaluations=jnp.int32(size),
            gone=gone,
            carry=carry,
        )

    @partial(jax.jit, static_argnames=("self",))
    def tell(
        self,
        key: jax.Array,
        population: jax.Array,
        fitness: jax.Array,
        state: State,
        params: Params,
    ) -> tuple[State, Any]:
        """As evosax's, blind to the candidates that do not count."""
        counts_P = jnp.arange(self.population_size) < state.size
        fitness = jnp.where(counts_P, fitness, jnp.inf)
        return super().tell(key, population, fitness, state, params)

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[jax.Array, State]:
        slot_key, rate_key, weight_key, mutate_key, cross_key = jax.random.split(key, 5)
        size = self.population_size
        slot_P = jax.random.randint(slot_key, (size,), 0, self.memory_size)
        rate_P = adaptive.draw_rate(rate_key, state.memory_rate[slot_P])
        rate_P = jnp.where(state.closed[slot_P], 0.0, rate_P)  # eq. 1
        weight_P = adaptive.draw_weight(weight_key, state.memory_weight[slot_P])  # eq. 2
        mutants_PN = adaptive.current_to_pbest(
            mutate_key,
            state.population,
            state.fitness,
            state.archive,
            weight_P=weight_P,
            top_P=adaptive.top_count(jnp.full(size, params.best_share), state.size),
            count=state.size,
        )
        counts_P = jnp.arange(size) < state.size
        mutants_PN = jnp.where(counts_P[:, None], mutants_PN, state.population)
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
        counts_P = jnp.arange(self.population_size) < state.size
        moves_P = counts_P & (fitness <= state.fitness)
        # To beat a failure teaches nothing.
        success_P = counts_P & (fitness < state.fitness) & jnp.isfinite(state.fitness)
        loss_P = jnp.where(moves_P, fitness, state.fitness)
        gone, carry = self._progress(state.gone, state.carry, state.size, params)
        left = carry > params.max_evaluations - carry  # more than half a member: rounded
        size = jnp.maximum(self.population_size - gone - left, adaptive.LEAST)  # eq. 10
        # The best stay, in their order and closed up. Rows beyond are never read again.
        stays_P = jnp.argsort(jnp.argsort(loss_P)) < size
        source_P = jnp.argsort(~stays_P)
        stayed_PN = jnp.where(
            moves_P[source_P][:, None], population[source_P], state.population[source_P]
        )
        members_P = jnp.arange(self.population_size) < size
        archive = adaptive.archived(
            key, state.archive, state.population, success_P, self._capacity(size)
        )
        return self._remember(state, fitness, success_P).replace(
            population=stayed_PN,
            fitness=jnp.where(members_P, loss_P[source_P], jnp.inf),
            archive=archive,
            size=size,
            evaluations=state.evaluations + state.size,
            gone=gone,
            carry=carry,
            replaced=jnp.sum(moves_P, dtype=jnp.int32),
        )

    def _remember(self, state: State, fitness_P: jax.Array, success_P: jax.Array) -> State:
        """Write one entry of the history, if anything succeeded (algorithm 1, eqs. 7 to 9)."""
        slot, learns = state.slot, jnp.any(success_P)
        share_P = adaptive.improvements(state.fitness, fitness_P, success_P)
        new_weight = adaptive.lehmer_mean(state.trial_weight, share_P)
        new_rate = adaptive.lehmer_mean(state.trial_rate, share_P)
        highest = jnp.max(jnp.where(success_P, state.trial_rate, 0.0))
        closed = state.closed[slot] | (learns & (highest == 0.0))
        kept_rate = jnp.where(learns, new_rate, state.memory_rate[slot])
        kept_weight = jnp.where(learns, new_weight, state.memory_weight[slot])
        return state.replace(
            memory_weight=state.memory_weight.at[slot].set(kept_weight),
            memory_rate=state.memory_rate.at[slot].set(jnp.where(closed, 0.0, kept_rate)),
            closed=state.closed.at[slot].set(closed),
            slot=jnp.where(learns, (slot + 1) % self.memory_size, slot),
        )

    def _progress(
        self, gone: jax.Array, carry: jax.Array, spent: jax.Array, params: Params
    ) -> tuple[jax.Array, jax.Array]:
        """Whole and left-over members that should be gone after so many evaluations more."""
        carry += (self.population_size - adaptive.LEAST) * spent
        return gone + carry // params.max_evaluations, carry % params.max_evaluations


def lshade_sizes(population: int, max_evaluations: int) -> Iterator[int]:
    """Candidates of each generation until all evaluations are spent, the initial population first.

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
    """Largest `max_evaluations` that takes so many generations after the initial population."""
    low, high = population, population * (generations + 1)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(1 for _ in lshade_sizes(population, middle)) > generations + 1:
            high = middle - 1
        else:
            low = middle
    return low
