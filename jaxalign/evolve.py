"""One generation of the search, and the state it carries."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key

from jaxalign.fitness import Evaluation, Task
from jaxalign.search import Strategy

Evaluate = Callable[[Any, Task, jax.Array, jax.Array], Evaluation]


@struct.dataclass
class Metrics:
    """What one generation did; watched, never fed back.

    Attributes:
      generation, evaluations: counted from the start; generation 0 is the initial population.
      best_loss: smallest loss so far.
      generation_best, generation_mean: over this generation's finite losses; +inf if there is none.
      accepted: members replaced; -1 for a strategy that keeps no population.
      failed: candidates whose loss was not finite.
      prompt_norm: mean Euclidean norm of the best prompt's rows.
    """

    generation: Int[Array, ""]
    evaluations: Int[Array, ""]
    best_loss: Float[Array, ""]
    generation_best: Float[Array, ""]
    generation_mean: Float[Array, ""]
    accepted: Int[Array, ""]
    failed: Int[Array, ""]
    prompt_norm: Float[Array, ""]


@struct.dataclass
class RunState:
    """All that the search carries from generation to generation; saved and restored whole.

    Attributes:
      key: the run's root key; generation g derives its own by `fold_in` and consumes none.
      strategy: the strategy's state; params: its parameters.
      best_prompt_LD, best_scores_C: of the smallest loss so far, `metrics.best_loss`.
      metrics: of the generation that made this state.
    """

    key: Key[Array, ""]
    strategy: Any
    params: Any
    best_prompt_LD: Float[Array, "L D"]
    best_scores_C: Float[Array, " C"]
    metrics: Metrics


@dataclasses.dataclass(frozen=True)
class Evolution:
    """The pure steps of a search, to be jitted with the state donated.

    Attributes:
      strategy: proposes and selects.
      evaluate: weights, task, population, key to an `Evaluation`.
      bounds: lowest and highest value of each coordinate `[D]`, or None.
    """

    strategy: Strategy
    evaluate: Evaluate
    bounds: tuple[jax.Array, jax.Array] | None = None

    def start(
        self, weights: Any, task: Task, population_PLD: jax.Array, key: jax.Array
    ) -> tuple[RunState, Metrics]:
        """Evaluates the initial population (generation 0). `key` becomes the run's root key."""
        init_key, evaluate_key = jax.random.split(jax.random.fold_in(key, 0))
        population_PLD = self._bounded(population_PLD)
        result = self.evaluate(weights, task, population_PLD, evaluate_key)
        inner = self.strategy.init(init_key, self.strategy.params, population_PLD, result.loss_P)
        before = RunState(
            key=key,
            strategy=inner,
            params=self.strategy.params,
            best_prompt_LD=population_PLD[0],
            best_scores_C=result.scores_PC[0],
            metrics=Metrics(
                generation=jnp.int32(-1),
                evaluations=jnp.int32(0),
                best_loss=jnp.float32(jnp.inf),
                generation_best=jnp.float32(jnp.inf),
                generation_mean=jnp.float32(jnp.inf),
                accepted=jnp.int32(0),
                failed=jnp.int32(0),
                prompt_norm=jnp.float32(0.0),
            ),
        )
        state = _record(before, inner, population_PLD, result, before.metrics.accepted)
        return state, state.metrics

    def step(self, weights: Any, task: Task, state: RunState) -> tuple[RunState, Metrics]:
        """One generation: ask, evaluate, tell. Nothing leaves the device."""
        generation_key = jax.random.fold_in(state.key, state.metrics.generation + 1)
        ask_key, evaluate_key, tell_key = jax.random.split(generation_key, 3)
        population_PLD, asked = self.strategy.ask(ask_key, state.params, state.strategy)
        population_PLD = self._bounded(population_PLD)
        result = self.evaluate(weights, task, population_PLD, evaluate_key)
        inner = self.strategy.tell(tell_key, state.params, population_PLD, result.loss_P, asked)
        accepted = self.strategy.accepted(asked, inner)
        state = _record(state, inner, population_PLD, result, accepted)
        return state, state.metrics

    def _bounded(self, population_PLD: jax.Array) -> jax.Array:
        if self.bounds is None:
            return population_PLD
        low_D, high_D = self.bounds
        return jnp.clip(population_PLD, low_D[None, None, :], high_D[None, None, :])


def _record(
    state: RunState,
    inner: Any,
    population_PLD: jax.Array,
    result: Evaluation,
    accepted: jax.Array,
) -> RunState:
    """The next state: the strategy's, the best candidate so far, and the generation's metrics."""
    winner = jnp.argmin(result.loss_P)
    finite_P = jnp.isfinite(result.loss_P)
    better = result.loss_P[winner] < state.metrics.best_loss
    best_prompt_LD = jnp.where(better, population_PLD[winner], state.best_prompt_LD)
    count = jnp.sum(finite_P)
    total = jnp.sum(jnp.where(finite_P, result.loss_P, 0.0))
    metrics = Metrics(
        generation=state.metrics.generation + 1,
        evaluations=state.metrics.evaluations + result.loss_P.shape[0],
        best_loss=jnp.minimum(state.metrics.best_loss, result.loss_P[winner]),
        generation_best=result.loss_P[winner],
        generation_mean=jnp.where(count > 0, total / jnp.maximum(count, 1), jnp.inf),
        accepted=accepted,
        failed=jnp.sum(~finite_P, dtype=jnp.int32),
        prompt_norm=jnp.mean(jnp.linalg.norm(best_prompt_LD, axis=-1)),
    )
    return dataclasses.replace(
        state,
        strategy=jax.tree.map(_strong, inner),
        best_prompt_LD=best_prompt_LD,
        best_scores_C=jnp.where(better, result.scores_PC[winner], state.best_scores_C),
        metrics=metrics,
    )


def _strong(leaf: jax.Array) -> jax.Array:
    """Strips the weak type of Python numbers, which a checkpoint would not bring back."""
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return leaf if is_key else leaf.astype(leaf.dtype)
