"""Tests and intervals for comparisons over questions: thin covers of scipy.stats."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

RESAMPLES = 2000
LEVEL = 0.95


class Interval(NamedTuple):
    """Lower and upper end."""

    low: float
    high: float


class McNemar(NamedTuple):
    """Two methods on the same questions.

    Attributes:
      b: questions that only the first answers rightly; c: only the second.
      p: two-sided; 1 where they never differ.
    """

    b: int
    c: int
    p: float


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> McNemar:
    """McNemar's test in its exact, binomial form (McNemar 1947; the form for few questions).

    Args:
      correct_a: bool, whether the first method answered each question rightly.
      correct_b: the same of the second.
    """
    a, b = _pair(correct_a, correct_b)
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    if only_a + only_b == 0:
        return McNemar(0, 0, 1.0)
    return McNemar(only_a, only_b, float(stats.binomtest(only_a, only_a + only_b).pvalue))


def wilson(correct: np.ndarray, level: float = LEVEL) -> Interval:
    """Wilson's interval of a share (Wilson 1927).

    Shown beside the bootstrap's, which has no width where all answers are right or all wrong.
    """
    result = stats.binomtest(int(np.sum(correct)), len(correct))
    return Interval(*map(float, result.proportion_ci(level, method="wilson")))


def bootstrap_mean(
    values: np.ndarray, seed: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """Percentile bootstrap interval of a mean (Efron 1979); equal seeds give equal resamples.

    One value, and values that are all equal, give an interval without width: a sample that shows
    no variation cannot say how much there is.

    Raises:
      ValueError: no values.
    """
    values = np.asarray(values, np.float64)
    if values.size == 1:  # scipy refuses it
        return Interval(float(values[0]), float(values[0]))
    result = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return Interval(*map(float, result.confidence_interval))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment for several comparisons (Holm 1979), in the order of its argument.

    An adjusted p at or below a level keeps the chance of even one false finding in the family
    within that level, however the comparisons depend on each other.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted.tolist()


def _pair(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != bool or b.dtype != bool or a.shape != b.shape or a.ndim != 1:
        raise ValueError(
            f"two bool vectors of one length are needed, not {a.dtype}{a.shape} and "
            f"{b.dtype}{b.shape}"
        )
    return a, b
