"""Synthetic respondents: for each country an answer distribution that scores exactly its target.

The 24 answers of VSM13 outnumber its 6 scores by 18, so infinitely many answer profiles fit a
target. Each country gets the smallest deviation from a common profile that hits its target, plus a
seeded quirk in the null space of the formulas, so that countries differ in ways that no score
shows. None of this is survey data.
"""

import numpy as np

from jaxalign.survey import Instrument, Scoring

_COMMON_SPREAD = 0.35  # standard deviation of item means over items, shared by all countries
_QUIRK_SPREAD = 0.15  # the same for each country's own quirk
_BOUNDS = (1.15, 4.85)


def item_mean_profiles(
    scoring: Scoring, targets_NC: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the mean answers [N, Q] within the scale whose scores are the targets.

    Args:
      scoring: of VSM13, with its constant C.
      targets_NC: scores of N countries.
      rng: drawn from.

    Raises:
      ValueError: a target cannot be met inside the scale.
    """
    weights_CQ = np.asarray(scoring.weights_CQ, np.float64)
    inverse_QC = np.linalg.pinv(weights_CQ)
    to_null_QQ = np.eye(weights_CQ.shape[1]) - inverse_QC @ weights_CQ
    common_Q = to_null_QQ @ rng.normal(0, _COMMON_SPREAD, weights_CQ.shape[1])
    quirks_NQ = rng.normal(0, _QUIRK_SPREAD, (len(targets_NC), weights_CQ.shape[1])) @ to_null_QQ
    shift_NQ = (targets_NC - np.asarray(scoring.constant_C, np.float64)) @ inverse_QC.T
    means_NQ = 3.0 + common_Q + quirks_NQ + shift_NQ
    if means_NQ.min() < _BOUNDS[0] or means_NQ.max() > _BOUNDS[1]:
        raise ValueError(f"item means {means_NQ.min():.2f} to {means_NQ.max():.2f} leave {_BOUNDS}")
    return means_NQ


def answer_distributions(means: np.ndarray, values_A: np.ndarray) -> np.ndarray:
    """Return the max-entropy distribution [..., A] for each mean: p_a ∝ exp(λ a)."""
    low, high = np.full(means.shape, -20.0), np.full(means.shape, 20.0)
    for _ in range(80):
        middle = (low + high) / 2
        too_low = _tilted(middle, values_A) @ values_A < means
        low, high = np.where(too_low, middle, low), np.where(too_low, high, middle)
    return _tilted((low + high) / 2, values_A)


def country_answers(
    instrument: Instrument, scoring: Scoring, targets_NC: np.ndarray, seed: int
) -> np.ndarray:
    """Answer distributions [N, Q, A] of N countries."""
    means_NQ = item_mean_profiles(scoring, targets_NC, np.random.default_rng(seed))
    values_A = np.asarray(instrument.items[0].values)
    return answer_distributions(means_NQ, values_A)


def _tilted(tilt: np.ndarray, values_A: np.ndarray) -> np.ndarray:
    logits = tilt[..., None] * values_A
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)
