"""Where and how a search moves, and the random keys of a run."""

import dataclasses
import enum

import jax
from jaxtyping import Array, Float

from jaxalign.search.contract import Strategy
from jaxalign.search.spaces import Space


class Draw(enum.IntEnum):
    """What a run draws beside its generations: numbers above all of theirs."""

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
    """A search before its first evaluation.

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
        """E, evaluated in one generation."""
        return self.vectors_E.shape[0]
