"""Where and how a search moves, and the random keys of a run."""

import dataclasses
import enum
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxalign.errors import UserError
from jaxalign.search.answers import ExpectedAnswers
from jaxalign.search.contract import Strategy
from jaxalign.search.spaces import Space
from jaxalign.search.strategies import make_strategy, strategy_file
from jaxalign.settings import SearchSettings

# Limits of Gauss-Newton's moves that suit a first population near its origin, as that of the first
# layer's space is; its own are for one of texts.
_NEAR = {"reach": 1.5, "exploration": 1.0, "exploration_answers": 1.0}


class Draw(enum.IntEnum):
    """Name what a run draws beside its generations: numbers above all of theirs."""

    PROMPTS = 2**32 - 1
    NAIVE = 2**32 - 2
    BASIS = 2**32 - 3
    VECTORS = 2**32 - 4
    RESCORE = 2**32 - 5


def draw_key(seed: int, draw: Draw) -> jax.Array:
    """Return a run's key for one of its draws."""
    return jax.random.fold_in(jax.random.key(seed), int(draw))


@dataclasses.dataclass(frozen=True, eq=False)
class SearchPlan:
    """Hold a search before its first evaluation.

    Attributes:
      seed: of everything that is drawn.
      space: from search vectors to prompts.
      strategy: proposes and selects for one country; a candidate is a search vector laid out along
        one axis, so that devices may share the coordinates evenly.
      vectors_E: the first population, E = G × P search vectors.
      spread: standard deviation of the first population around its mean, the first step length of
        strategies that have one.
      migrants: candidates of other countries offered to each country per generation.
      reevaluate: generations between evaluations of the members instead of candidates, for a noisy
        loss; 0 for never.
    """

    seed: int
    space: Space
    strategy: Strategy
    vectors_E: Float[Array, "E ..."]
    spread: float
    migrants: int = 0
    reevaluate: int = 0

    @property
    def candidates(self) -> int:
        """Return E, the candidates evaluated in one generation."""
        return self.vectors_E.shape[0]


def strategy_for(search: SearchSettings, shape: tuple[int, ...], spread: float) -> Strategy:
    """Return the configured strategy for a space's vectors, laid out along one axis.

    Raises as `make_strategy`.
    """
    is_near = search.space == "first_layer" and search.strategy in ("GaussNewton", "GaussNewtonDE")
    return make_strategy(
        search.strategy,
        search.population,
        (math.prod(shape),),
        spread,
        (_NEAR if is_near else {}) | search.strategy_params,
        search.generations,
        rows=shape[0] if len(shape) > 1 else 1,
    )


def check_strategy(search: SearchSettings) -> Strategy:
    """Return the strategy for a small space, if it can start with these parameters and population.

    Raises:
      UserError: there is not, or the steps of a user's own cannot be traced.
    """
    strategy = strategy_for(search, (1, 2), 1.0)
    if not strategy_file(search.strategy):
        return strategy
    try:
        jax.eval_shape(functools.partial(_steps, strategy), jax.random.key(0), strategy.params)
    except Exception as error:  # whatever the user's class raises
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"search.strategy={search.strategy!r}: init, ask and tell cannot be traced "
            f"({type(error).__name__}: {reason})"
        ) from error
    return strategy


def _steps(strategy: Strategy, key: jax.Array, params: Any) -> Any:
    """Return the state after one generation."""
    loss_P = jnp.zeros(strategy.population)
    answers = ExpectedAnswers(jnp.zeros((strategy.population, 1, 3)), jnp.ones((2, 3)), jnp.ones(2))
    first = jnp.zeros((strategy.population, *strategy.shape))
    state = strategy.init(key, params, first, loss_P, answers)
    vectors, state = strategy.ask(key, params, state)
    return strategy.tell(key, params, vectors, loss_P, state, answers)
