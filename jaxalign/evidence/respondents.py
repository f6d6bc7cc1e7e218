"""What a survey of a few simulated respondents would have found."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxalign.evidence.asking import Asker
from jaxalign.evidence.baselines import TUNED, Method
from jaxalign.evidence.sampling import (
    Statistic,
    bootstrap_respondents,
    index_standard_error,
    simulate_respondents,
    simulated_error,
)
from jaxalign.survey import Scoring, ShareScoring

SIZES = (1, 5, 20, 50)
MOST = SIZES[-1]  # respondents that intervals are about


def scores_and_loss(asker: Asker, norm: str) -> Statistic:
    """From shares [B, I, A] to the scores and, last, the loss: [B, C + 1]."""

    def statistic(shares_BIA: np.ndarray) -> np.ndarray:
        scores_BC, loss_GB = asker.measure(np.asarray(shares_BIA, np.float32), norm)
        return np.concatenate([scores_BC, loss_GB[0][:, None]], axis=1)

    return statistic


def sampling_errors(
    methods: Sequence[Method],
    scoring: Scoring | ShareScoring,
    dimensions: Sequence[str],
    statistic: Statistic,
    seed: int,
) -> list[dict[str, Any]]:
    """Standard deviation over samples of 1 to 50 respondents, beside the formula's, and intervals.

    Args:
      methods: whose answers respondents draw from; the mean over formats.
      scoring: of the survey.
      dimensions: keys, in the order of the scores.
      statistic: as `scores_and_loss` gives it.
      seed: of respondents and resamples.
    """
    rows = []
    for method in methods:
        shares_IA = method.shares_FIA.mean(axis=0)
        for size in SIZES:
            answers_NI = simulate_respondents(shares_IA, size, seed)
            bounds_K2 = bootstrap_respondents(answers_NI, shares_IA.shape[1], statistic, seed)
            error_K = simulated_error(shares_IA, statistic, size, seed)
            formula_C = _formula(scoring, shares_IA, size)
            rows.append(
                {
                    "method": method.name,
                    "n": size,
                    "loss": method.loss,
                    "low": float(bounds_K2[-1, 0]),
                    "high": float(bounds_K2[-1, 1]),
                    "loss_sd": float(error_K[-1]),
                    "dimensions": {
                        key: {
                            "mean": float(method.scores_C[index]),
                            "low": float(bounds_K2[index, 0]),
                            "high": float(bounds_K2[index, 1]),
                            "sampling_sd": float(error_K[index]),
                            "formula_sd": None if formula_C is None else float(formula_C[index]),
                        }
                        for index, key in enumerate(dimensions)
                    },
                }
            )
    return rows


def _formula(
    scoring: Scoring | ShareScoring, shares_IA: np.ndarray, size: int
) -> np.ndarray | None:
    """Standard errors of the scores, None where they are no weighted sums of means."""
    if isinstance(scoring, ShareScoring):
        return None
    own_IA = shares_IA[:, : scoring.values_QA.shape[1]]
    return index_standard_error(scoring.weights_CQ, scoring.values_QA, own_IA, size)


def add_intervals(
    rows: list[dict[str, Any]], methods: Sequence[Method], statistic: Statistic, seed: int
) -> None:
    """Add to each method's row the interval of its loss, and of the tuned loss minus its own.

    The same simulated respondents answer under all methods, so that differences are paired.
    """
    answers = {
        method.name: simulate_respondents(method.shares_FIA.mean(axis=0), MOST, seed)
        for method in methods
    }
    options = methods[0].shares_FIA.shape[-1]
    for row in rows:
        own_NI = answers.get(row["name"])
        if own_NI is None:
            continue
        bounds_K2 = bootstrap_respondents(own_NI, options, statistic, seed)
        row["interval"] = bounds_K2[-1].tolist()
        if row["name"] != TUNED:
            pairs_K2 = bootstrap_respondents(answers[TUNED], options, statistic, seed, own_NI)
            mean = next(method.loss for method in methods if method.name == TUNED) - row["loss"]
            row["difference"] = {"mean": mean, "interval": pairs_K2[-1].tolist()}
