"""Gauss-Newton without derivatives: steps to the target by a model of the answers.

Most searches see one number of a candidate, its loss. But a candidate gives M answers, of which the
scores are known linear functions, so a model of the answers (`answer_model`) says where the scores
are as wanted: derivative-free Gauss-Newton (Cartis & Roberts 2019, arXiv 1710.11005) with a kernel
for a model, and a trust region for its step.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from evosax.algorithms.base import EvolutionaryAlgorithm
from evosax.algorithms.base import Params as BaseParams
from evosax.algorithms.base import State as BaseState
from flax import struct

from jaxalign.search.answer_model import Beliefs, Seen, first_beliefs, jacobian, learn
from jaxalign.search.answers import ExpectedAnswers

_LINE = (1.0, 2.0, 0.5, 4.0)  # lengths that are tried without exploring, in units of the step
_EXPLORING = (1.0, 0.5, 1.0, 2.0)
_SHRINK, _LEAST, _MOST = 1 / 3, 0.02, 2.0  # of the step
_RIDGE = 1e-6


@struct.dataclass
class State(BaseState):
    """Of Gauss-Newton.

    Attributes:
      best_answers: of the best candidate, which is the centre of the model, `[M]`.
      vectors, answers, losses: the last n candidates `[n, N]`, what they answered `[n, M]` and
        their losses `[n]`, +inf where there is none.
      slot: the row that is written next.
      beliefs: what the model has learned.
      step: the share of the way to the target that is tried.
      trial_step: the same of the candidates that were asked for last, `[P]`.
      weights, wanted: from answers to scores, `[C, Q]`, and the scores to reach, `[C]`.
    """

    best_answers: jax.Array
    vectors: jax.Array
    answers: jax.Array
    losses: jax.Array
    slot: jax.Array
    beliefs: Beliefs
    step: jax.Array
    trial_step: jax.Array
    weights: jax.Array
    wanted: jax.Array


@struct.dataclass
class Params(BaseParams):
    """Of Gauss-Newton.

    Attributes:
      std_init: standard deviation of a coordinate, in which the limits are measured.
      step, curvature: at the start.
      reach: longest step, of a coordinate.
      exploration: longest exploring move, of a coordinate; exploration_answers: how far it may move
        an answer.
    """

    std_init: float
    step: float
    curvature: float
    reach: float
    exploration: float
    exploration_answers: float


class GaussNewton(EvolutionaryAlgorithm):
    """Steps to the target from the best candidate, and explores where scores should not change.

    Args:
      population_size: P.
      solution: any array of a candidate's shape.
      archive_size: n, evaluated candidates that the model is fitted to; at least P.
      rows: L, of a soft prompt; 1 where a candidate has none.
      fitness_shaping_fn, metrics_fn: as in evosax.
    """

    reads_answers = True
    compares = True  # +inf marks candidates that the model is not fitted to

    def __init__(
        self,
        population_size: int,
        solution: jax.Array,
        archive_size: int = 400,
        *,
        rows: int = 1,
        **options: Any,
    ):
        super().__init__(population_size, solution, **options)
        self.archive_size = max(archive_size, population_size)
        self.rows = rows

    @property
    def _default_params(self) -> Params:
        return Params(
            std_init=1.0,
            step=0.5,
            curvature=0.5,
            reach=0.15,
            exploration=0.03,
            exploration_answers=0.05,
        )

    @classmethod
    def param_ranges(cls, population_size: int) -> dict[str, tuple[float, float]]:
        """Check that what is a share is one."""
        lengths = ("curvature", "reach", "exploration", "exploration_answers")
        own = {"archive_size": (population_size, 10_000), "step": (_LEAST, _MOST)}
        return own | dict.fromkeys(lengths, (0.0, 100.0))

    @partial(jax.jit, static_argnames=("self",))
    def init(
        self,
        key: jax.Array,
        population: jax.Array,
        fitness: jax.Array,
        params: Params,
        answers: ExpectedAnswers,
    ) -> State:
        """Return the state after an evaluated population `[P, …]` with its answers."""
        size, width = self.archive_size, self.num_dims
        told = answers.means_PFQ.shape[1] * answers.means_PFQ.shape[2]
        state = State(
            best_solution=population.reshape(population.shape[0], -1)[0],
            best_fitness=jnp.float32(jnp.inf),
            generation_counter=jnp.int32(0),
            best_answers=jnp.zeros(told, jnp.float32),
            vectors=jnp.zeros((size, width), jnp.float32),
            answers=jnp.zeros((size, told), jnp.float32),
            losses=jnp.full(size, jnp.inf, jnp.float32),
            slot=jnp.int32(0),
            beliefs=Beliefs(jnp.eye(self.rows), jnp.float32(0.0)),
            step=params.step,
            trial_step=jnp.full(self.population_size, params.step, jnp.float32),
            weights=answers.weights_CQ,
            wanted=answers.wanted_C,
        )
        state = self._append(state, population, fitness, answers)
        seen = self._seen(state)
        return state.replace(beliefs=first_beliefs(seen, params.curvature))

    @partial(jax.jit, static_argnames=("self",))
    def tell(
        self,
        key: jax.Array,
        population: jax.Array,
        fitness: jax.Array,
        state: State,
        params: Params,
        answers: ExpectedAnswers,
    ) -> tuple[State, dict]:
        """Return the state that has seen the candidates' answers."""
        # A candidate that was not asked for here, with a step of 0, says nothing of the step.
        winner = jnp.argmin(fitness)
        improved = fitness[winner] < state.best_fitness
        found = jnp.where(state.trial_step[winner] > 0, state.trial_step[winner], state.step)
        step = jnp.clip(jnp.where(improved, found, _SHRINK * state.step), _LEAST, _MOST)
        state = self._append(state, population, fitness, answers)
        return state.replace(step=step, generation_counter=state.generation_counter + 1), {}

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[jax.Array, State]:
        with jax.default_matmul_precision("highest"):
            seen = self._seen(state)
            beliefs = jax.lax.cond(
                state.generation_counter > 0,
                partial(learn, seen),
                lambda beliefs: beliefs,
                state.beliefs,
            )
            return self._propose(key, state.replace(beliefs=beliefs), seen, params)

    def _propose(
        self, key: jax.Array, state: State, seen: Seen, params: Params
    ) -> tuple[jax.Array, State]:
        size, width = self.population_size, self.num_dims
        formats = state.best_answers.shape[0] // state.weights.shape[1]
        scoring_KM = jnp.kron(jnp.eye(formats), state.weights)
        rest_K = scoring_KM @ state.best_answers - jnp.tile(state.wanted, formats)
        jacobian_MN = jacobian(seen, state.beliefs).reshape(-1, width)
        slope_KN = scoring_KM @ jacobian_MN
        inner_KK = slope_KN @ slope_KN.T
        ridge = _RIDGE * jnp.trace(inner_KK) / len(inner_KK)
        inner_KK += jnp.where(ridge > 0, ridge, 1.0) * jnp.eye(len(inner_KK))

        # The shortest way to the target, by the model.
        way_N = -slope_KN.T @ jnp.linalg.solve(inner_KK, rest_K)
        lines = min(len(_LINE), max(2, size // 4))
        share_P = jnp.array(_LINE[:lines] + _EXPLORING * size)[:size]
        trial_step = jnp.clip(state.step * share_P, _LEAST, _MOST)
        unit = params.std_init * jnp.sqrt(jnp.float32(width))
        steps_PN = _within(trial_step[:, None] * way_N[None], params.reach * unit)

        # Moves off it that change no score, by the model, and answers by about what is missing.
        explores_P = jnp.arange(size) >= lines
        half_LL = jnp.linalg.cholesky(state.beliefs.rows_LL)
        noise_PLD = jax.random.normal(key, (size, self.rows, width // self.rows))
        noise_PN = jnp.einsum("lk,pkd->pld", half_LL, noise_PLD).reshape(size, width)
        noise_PN -= jnp.linalg.solve(inner_KK, slope_KN @ noise_PN.T).T @ slope_KN
        noise_PLD = noise_PN.reshape(noise_PLD.shape)
        moved_P = jnp.sqrt(jnp.einsum("pld,lk,pkd->p", noise_PLD, state.beliefs.rows_LL, noise_PLD))
        missing = 0.1 * jnp.linalg.norm(rest_K) / jnp.linalg.norm(scoring_KM, 2)
        wanted = jnp.minimum(params.exploration_answers, missing)
        noise_PN *= (explores_P * wanted / jnp.where(moved_P > 0, moved_P, 1.0))[:, None]
        noise_PN = _within(noise_PN, params.exploration * unit)
        return state.best_solution + steps_PN + noise_PN, state.replace(trial_step=trial_step)

    def _seen(self, state: State) -> Seen:
        held_n = jnp.isfinite(state.losses)
        moves_nN = jnp.where(held_n[:, None], state.vectors - state.best_solution[None], 0.0)
        changes_nM = jnp.where(held_n[:, None], state.answers - state.best_answers[None], 0.0)
        return Seen(moves_nN.reshape(self.archive_size, self.rows, -1), changes_nM, held_n)

    def _append(
        self, state: State, population: jax.Array, fitness: jax.Array, answers: ExpectedAnswers
    ) -> State:
        """Return the state with evaluated candidates in the archive, and the best in the centre."""
        count = population.shape[0]
        vectors_PN = population.reshape(count, -1)
        answers_PM = answers.means_PFQ.reshape(count, -1)
        enters_P = jnp.isfinite(fitness)
        place_P = (state.slot + jnp.cumsum(enters_P) - 1) % self.archive_size
        row_P = jnp.where(enters_P, place_P, self.archive_size)
        best = jnp.argmin(fitness)
        improved = fitness[best] < state.best_fitness
        return state.replace(
            vectors=state.vectors.at[row_P].set(vectors_PN, mode="drop"),
            answers=state.answers.at[row_P].set(answers_PM, mode="drop"),
            losses=state.losses.at[row_P].set(fitness, mode="drop"),
            slot=(state.slot + jnp.sum(enters_P, dtype=jnp.int32)) % self.archive_size,
            best_solution=jnp.where(improved, vectors_PN[best], state.best_solution),
            best_answers=jnp.where(improved, answers_PM[best], state.best_answers),
            best_fitness=jnp.where(improved, fitness[best], state.best_fitness),
            weights=answers.weights_CQ,
            wanted=answers.wanted_C,
        )


def _within(moves_PN: jax.Array, radius: jax.Array) -> jax.Array:
    """Return the moves, shortened to a Euclidean norm where they are longer."""
    norm_P = jnp.linalg.norm(moves_PN, axis=-1)
    return moves_PN * jnp.minimum(1.0, radius / jnp.where(norm_P > 0, norm_P, 1.0))[:, None]
