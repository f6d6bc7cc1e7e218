"""Whether answers hold when the same questions are put in another way."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxalign.evidence.asking import Asker
from jaxalign.problem import Problem
from jaxalign.prompts import (
    FACTORS,
    Presentation,
    alone,
    ask_presentation,
    read_levels,
)
from jaxalign.survey import Instrument

TUNE, CHOOSE, TEST, ALONE = "tune", "choose", "test", "alone"
_RESAMPLES = 2_000


class Way(NamedTuple):
    """A presentation, and what it is for.

    Attributes:
      part: `tune`, `choose` or `test`, the set that it is of; `alone`: the usual presentation with
        one level of the test set.
      presentation: the presentation.
    """

    part: str
    presentation: Presentation


def ways_to_ask(problem: Problem, wordings: Sequence[Instrument] = ()) -> list[Way]:
    """Return a problem's presentations, then levels of the test one at a time.

    Args:
      problem: whose sets are used.
      wordings: a user's own, which are asked in the usual format and belong to the test.
    """
    tune, choose, test = problem.sets
    own = tuple(Presentation(each, wording=each.name) for each in wordings)
    ways = {TUNE: tune, CHOOSE: choose, TEST: (*test, *own)}
    levels = read_levels(problem.instrument, ["all"])
    singly = {one.name: one for way in test for one in alone(levels, way)}
    ways[ALONE] = tuple(one for one in singly.values() if one not in test)
    return [Way(part, way) for part, each in ways.items() for way in each]


def ask_everywhere(
    asker: Asker,
    ways: Sequence[Way],
    prompt_LD: np.ndarray,
    persona: str | None,
    norm: str,
    dimensions: Sequence[str],
) -> dict[str, list[dict[str, Any]]]:
    """Return loss and scores of naive, persona and tuned in each presentation, by method.

    Args:
      asker: of the model.
      ways: presentations.
      prompt_LD: the tuned prompt.
      persona: text of the method `persona`, or None for none.
      norm: of the loss.
      dimensions: keys, in the order of the scores.
    """
    plain = [one for way in ways for one in ask_presentation(way.presentation)]
    answered = {"naive": asker.ask(plain)[0], "tuned": asker.ask(plain, prompt_LD[None])[0]}
    if persona:
        spoken = [one for way in ways for one in ask_presentation(way.presentation, persona)]
        answered["persona"] = asker.ask(spoken)[0]
    found = {}
    for method, shares in answered.items():
        scores_WC, loss_GW = asker.measure(shares.reshape(len(ways), -1, shares.shape[-1]), norm)
        found[method] = [
            {"loss": float(loss), "scores": dict(zip(dimensions, scores_C.tolist(), strict=True))}
            for loss, scores_C in zip(loss_GW[0], scores_WC, strict=True)
        ]
    return found


def mean_losses(
    ways: Sequence[Way], loss_W: np.ndarray, tuned_W: np.ndarray, seed: int
) -> dict[str, Any]:
    """Return a method's mean losses, what the tuned prompt gains on it, and its worst presentation.

    Args:
      ways: presentations.
      loss_W: in each.
      tuned_W: the same of the tuned prompt.
      seed: of resamples.
    """
    rows = {
        part: [row for row, way in enumerate(ways) if way.part == part] for part in (TUNE, TEST)
    }
    test = rows[TEST] or rows[TUNE]
    worst = max(test, key=lambda row: loss_W[row])
    levels = [ways[row].presentation.levels for row in test]
    return {
        "seen": float(np.mean(loss_W[rows[TUNE]])),
        "held_out": float(np.mean(loss_W[test])),
        "interval": interval_over_levels(levels, loss_W[test], seed),
        "difference": {
            "mean": float(np.mean((tuned_W - loss_W)[test])),
            "interval": interval_over_levels(levels, (tuned_W - loss_W)[test], seed),
        },
        "worst": float(loss_W[worst]),
        "worst_name": ways[worst].presentation.name,
    }


def interval_over_levels(
    levels: Sequence[dict[str, str]], loss_W: np.ndarray, seed: int
) -> tuple[float, float]:
    """Return the 95% interval of a mean over presentations, levels of all factors being drawn anew.

    The pigeonhole bootstrap (Owen 2007, Annals of Applied Statistics 1, 386-411): of each factor's
    levels as many are drawn with replacement, and a presentation counts as often as the product of
    its levels' draws.
    """
    rng = np.random.default_rng(seed)
    weight_RW = np.ones((_RESAMPLES, len(levels)))
    for factor in FACTORS:
        names, index_W = np.unique([each[factor] for each in levels], return_inverse=True)
        share = np.full(len(names), 1 / len(names))
        weight_RW *= rng.multinomial(len(names), share, size=_RESAMPLES)[:, index_W]
    total_R = weight_RW.sum(axis=1)
    mean_R = (weight_RW @ loss_W)[total_R > 0] / total_R[total_R > 0]
    low, high = np.quantile(mean_R, (0.025, 0.975))
    return float(low), float(high)


def explained_by(levels: Sequence[dict[str, str]], loss_W: np.ndarray) -> dict[str, float | None]:
    """Return for each factor the share of the losses' variance between its levels (eta squared).

    Presentations differ in all factors at once, so shares overlap; None where nothing varies.
    """
    total = float(np.sum((loss_W - loss_W.mean()) ** 2))
    shares = {}
    for factor in FACTORS:
        names, index_W = np.unique([each[factor] for each in levels], return_inverse=True)
        count_N = np.bincount(index_W)
        mean_N = np.bincount(index_W, loss_W) / count_N
        between = float(np.sum(count_N * (mean_N - loss_W.mean()) ** 2))
        shares[factor] = between / total if total and len(names) > 1 else None
    return shares
