"""In-context learning: answered questions that fit a country, before the question that is asked."""

from collections.abc import Callable

import numpy as np

from jaxalign.prompts import Asked, Presentation, ask_presentation
from jaxalign.survey import Instrument

_STARTS = 8  # of the descent
Loss = Callable[[np.ndarray], np.ndarray]  # option indices [N, I] to losses [N]


def fitting_answers(instrument: Instrument, loss: Loss, seed: int) -> np.ndarray:
    """One option for each item, so that a respondent who gives these scores near the target.

    Coordinate descent from random answers: one item at a time takes the option of least loss, until
    none changes; the best of some starts. Whole answers cannot reach a target exactly.

    Args:
      instrument: the survey.
      loss: of answers, given as option indices.
      seed: of starts and of the order of items.

    Returns:
      int [I], indices of options.
    """
    rng = np.random.default_rng(seed)
    counts = np.array([len(item.options) for item in instrument.items])
    found: list[tuple[float, np.ndarray]] = []
    for _ in range(_STARTS):
        answers_I = rng.integers(counts)
        before = np.inf
        best = float(loss(answers_I[None])[0])
        while best < before:
            before = best
            for item in rng.permutation(len(counts)):
                tried = np.repeat(answers_I[None], counts[item], axis=0)
                tried[:, item] = np.arange(counts[item])
                losses = loss(tried)
                if losses.min() < best:
                    answers_I, best = tried[np.argmin(losses)], float(losses.min())
        found.append((best, answers_I))
    return min(found, key=lambda one: one[0])[1]


def ask_with_demonstrations(
    way: Presentation,
    answers_I: np.ndarray,
    order: np.ndarray,
    count: int,
    system: str | None = None,
) -> list[Asked]:
    """Return each item after `count` others with their answers, as earlier turns of the chat.

    The order is cut into blocks of as many items as the demonstrations leave. All items of a block
    have the same ones, those that follow the block, so few chains of turns serve all items.

    Args:
      way: how the question and the demonstrations are put.
      answers_I: option of each item.
      order: indices of items, in which they become demonstrations.
      count: k, smaller than the number of items.
      system: text of a system message, or None.
    """
    asked = ask_presentation(way, system)
    turns = [(one.user, one.labels[answer]) for one, answer in zip(asked, answers_I, strict=True)]
    size = len(order) - count
    for first in range(0, len(order), size):
        block, after = order[first : first + size], np.roll(order, -first - size)[:count]
        before = tuple(turns[other] for other in after)
        for item in block:
            asked[item] = asked[item]._replace(before=asked[item].before + before)
    return asked
