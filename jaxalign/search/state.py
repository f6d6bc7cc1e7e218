"""What a search carries from generation to generation, and what it tells of each."""

from typing import Any

from flax import struct
from jaxtyping import Array, Float, Int, Key

from jaxalign.search.pareto import ParetoFront


@struct.dataclass
class Metrics:
    """What one generation did; watched, never fed back.

    Attributes:
      generation, evaluations: counted from the start; generation 0 is the initial population.
      failed: candidates whose loss was not finite, for any country.
      best_loss_G: smallest loss so far.
      generation_best_G: smallest finite loss of all candidates of this generation, or +inf.
      generation_mean_G: mean of the finite losses of the country's own candidates, or +inf.
      accepted_G: members replaced by the country's own candidates; -1 for a strategy that keeps no
        population.
      prompt_norm_G: mean Euclidean norm of the best prompt's rows.
      terms_GO: the terms of the best prompt, in the order of `Goal.terms`.
      chosen_loss_G: smallest loss so far in the presentations to choose by; None without such.
    """

    generation: Int[Array, ""]
    evaluations: Int[Array, ""]
    failed: Int[Array, ""]
    best_loss_G: Float[Array, " G"]
    generation_best_G: Float[Array, " G"]
    generation_mean_G: Float[Array, " G"]
    accepted_G: Int[Array, " G"]
    prompt_norm_G: Float[Array, " G"]
    terms_GO: Float[Array, "G O"]
    chosen_loss_G: Float[Array, " G"] | None = None


@struct.dataclass
class Chosen:
    """Of the prompts that were best so far, the one that does best in those to choose by.

    Attributes:
      prompt_GLD: of each country.
      loss_G, scores_GC, terms_GO: of the same in the presentations of the search.
    """

    prompt_GLD: Float[Array, "G L D"]
    loss_G: Float[Array, " G"]
    scores_GC: Float[Array, "G C"]
    terms_GO: Float[Array, "G O"]


@struct.dataclass
class RunState:
    """All that the search carries from generation to generation; saved and restored whole.

    Attributes:
      key: the run's root key; generation g derives its own by `fold_in` and consumes none.
      strategy: the strategy's state, with a leading axis of countries.
      params: the strategy's parameters.
      best_prompt_GLD, best_scores_GC: of the smallest loss so far, `metrics.best_loss_G`.
      front: the Pareto front of each country, with a leading axis; None where none is kept.
      metrics: of the generation that made this state.
      chosen: the prompts to keep, or None if the best ones are.
    """

    key: Key[Array, ""]
    strategy: Any
    params: Any
    best_prompt_GLD: Float[Array, "G L D"]
    best_scores_GC: Float[Array, "G C"]
    front: ParetoFront | None
    metrics: Metrics
    chosen: Chosen | None = None
