"""How far the answers of a few simulated respondents carry: sampling error and bootstrap.

N respondents answer all Q items; A options. A statistic is a function from the shares of
respondents who chose each option, [..., Q, A], to K numbers, [..., K]: six scores and a loss, say.

A loss of distances is convex in the scores, so sampling raises it: the loss of few respondents is
above that of infinitely many on average, and resampling them raises it once more. Compare losses at
equal N only.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from jaxalign.evidence.statistics import LEVEL, RESAMPLES

Statistic = Callable[[np.ndarray], np.ndarray]


def simulate_respondents(
    probabilities_QA: Float[np.ndarray, "Q A"], respondents: int, seed: int
) -> Int[np.ndarray, "N Q"]:
    """Index of the option that each simulated respondent chooses at each item.

    A respondent is one uniform number for each item, the same for equal seeds: two methods that
    are asked with one seed differ by their probabilities and not by luck.
    """
    cumulative_QA = np.cumsum(np.asarray(probabilities_QA, np.float64), axis=1)
    uniform_NQ = np.random.default_rng(seed).random((respondents, len(cumulative_QA)))
    # By the sum, which rounding keeps from 1, and without the last, so that an option always wins.
    bounds_QA = cumulative_QA[:, :-1] / cumulative_QA[:, -1:]
    return np.sum(uniform_NQ[:, :, None] >= bounds_QA[None], axis=-1)


def index_standard_error(
    weights_CQ: Float[np.ndarray, "C Q"],
    values_QA: Float[np.ndarray, "Q A"],
    probabilities_QA: Float[np.ndarray, "Q A"],
    respondents: int,
) -> Float[np.ndarray, " C"]:
    """Standard error of scores that are weighted sums of item means, in the scores' own points.

    sqrt(Σ_q weight_q² · Var_q / N), with each item answered independently of the others. Uniform
    answers to VSM13's five options have a variance of 2: one respondent leaves 86 to 106 points.

    Args:
      weights_CQ: of the survey's `Scoring`.
      values_QA: of the same.
      probabilities_QA: of each answer, sums to 1 over A.
      respondents: N.
    """
    values_QA = np.asarray(values_QA, np.float64)
    mean_Q = np.sum(probabilities_QA * values_QA, axis=1)
    variance_Q = np.sum(probabilities_QA * (values_QA - mean_Q[:, None]) ** 2, axis=1)
    return np.sqrt(np.asarray(weights_CQ, np.float64) ** 2 @ variance_Q / respondents)


def simulated_error(
    probabilities_QA: Float[np.ndarray, "Q A"],
    statistic: Statistic,
    respondents: int,
    seed: int,
    samples: int = RESAMPLES,
) -> Float[np.ndarray, " K"]:
    """Standard deviation of a statistic over many samples of so many respondents.

    Shown beside the formula's, and for statistics that have none.
    """
    p_QA = np.asarray(probabilities_QA, np.float64)
    p_QA = p_QA / p_QA.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    counts_SQA = rng.multinomial(respondents, p_QA, size=(samples, len(p_QA)))
    return np.std(np.asarray(statistic(counts_SQA / respondents), np.float64), axis=0, ddof=1)


def bootstrap_respondents(
    answers_NQ: Int[np.ndarray, "N Q"],
    options: int,
    statistic: Statistic,
    seed: int,
    minus_NQ: Int[np.ndarray, "N Q"] | None = None,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Float[np.ndarray, "K 2"]:
    """Percentile intervals of a statistic: whole respondents are drawn with replacement.

    Args:
      answers_NQ: index of the option that each respondent chose at each item.
      options: A.
      statistic: from shares [B, Q, A] to [B, K].
      seed: equal seeds draw equal respondents.
      minus_NQ: answers of another method, simulated with the same seed so that a row of both is one
        respondent; the intervals are then those of statistic(answers) − statistic(minus).
      level: how often such an interval should hold the truth.
      resamples: B.

    Raises:
      ValueError: the shapes differ, or an answer is no index of an option.
    """

    def drawn(answers_NQ: np.ndarray) -> np.ndarray:
        shares_BQA = _resampled_shares(answers_NQ, options, seed, resamples)
        return np.asarray(statistic(shares_BQA), np.float64)

    values_BK = drawn(answers_NQ)
    if minus_NQ is not None:
        if np.shape(answers_NQ) != np.shape(minus_NQ):
            raise ValueError(
                f"pairs need equal shapes, not {np.shape(answers_NQ)} and {np.shape(minus_NQ)}"
            )
        values_BK = values_BK - drawn(minus_NQ)
    tail = (1 - level) / 2
    return np.quantile(values_BK, [tail, 1 - tail], axis=0).T


def _resampled_shares(
    answers_NQ: np.ndarray, options: int, seed: int, resamples: int
) -> np.ndarray:
    """Return shares in each resample: how often a respondent is drawn is multinomial."""
    answers_NQ = np.asarray(answers_NQ)
    if answers_NQ.size == 0 or answers_NQ.min() < 0 or answers_NQ.max() >= options:
        raise ValueError(f"answers must be indices below {options}, from one respondent at least")
    chosen_NQA = (answers_NQ[:, :, None] == np.arange(options)[None, None]).astype(np.float64)
    respondents = len(chosen_NQA)
    even_N = np.full(respondents, 1 / respondents)
    times_BN = np.random.default_rng(seed).multinomial(respondents, even_N, size=resamples)
    return np.tensordot(times_BN / respondents, chosen_NQA, axes=1)
