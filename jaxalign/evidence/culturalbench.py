"""CulturalBench by method and country: shares of right answers, intervals, paired tests.

Pure assembly of questions and probabilities. A country has few questions (in the first version
China 59, India 46, United States 20, Saudi Arabia 17), so a share never stands without its
interval, nor a difference without its test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from jaxalign.evidence.statistics import (
    bootstrap_mean,
    bootstrap_paired_difference,
    holm,
    mcnemar,
    wilson,
)
from jaxalign.survey import (
    QUIZ_LABELS,
    HardRow,
    QuizQuestion,
    easy_correct,
    hard_correct,
    hard_questions,
    same_country,
)

OVERALL = "all"
_OPTIONS = len(QUIZ_LABELS)


@dataclass(frozen=True)
class QuizRow:
    """One method on the questions of one country, or on all of them. Shares are 0 to 1.

    Attributes:
      form: `easy` or `hard`; country: name, or `all`; method: name.
      questions: number of them; skipped: empty options that they lack.
      right: questions answered rightly; accuracy: their share.
      low, high: 95 % bootstrap interval of accuracy over questions; wilson_low, wilson_high: the
        same by Wilson's formula, which has a width even where all answers are right or all wrong.
      chance: accuracy of guessing, with the options that are there: 25 % (easy) or 6.25 % (hard)
        where none is empty.
      versus: the method that this one is compared with; None, and all that follows, in its own row.
      difference: accuracy − that of `versus`; difference_low, difference_high: 95 % paired
        bootstrap interval.
      gained: questions that only this method answers rightly; lost: only `versus`.
      p: exact McNemar test of gained against lost, two-sided.
      p_holm: p, adjusted for so many `comparisons`.
    """

    form: str
    country: str
    method: str
    questions: int
    skipped: int
    right: int
    accuracy: float
    low: float
    high: float
    wilson_low: float
    wilson_high: float
    chance: float
    versus: str | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    gained: int | None = None
    lost: int | None = None
    p: float | None = None
    p_holm: float | None = None
    comparisons: int | None = None


def easy_rows(
    questions: Sequence[QuizQuestion],
    probabilities: Mapping[str, np.ndarray],
    versus: str,
    own: str = "",
    seed: int = 0,
) -> list[QuizRow]:
    """Score methods on CulturalBench-Easy: overall, then by country in order of appearance.

    p-values are adjusted in two families: overall and the country of `own`, which a run asks about
    from the start, and all other countries, which it only looks through.

    Args:
      questions: Q of them.
      probabilities: method name to [Q, A], the probability of each option; 0 where not offered.
      versus: name of the method that the others are compared with.
      own: name of the country that prompts were tuned for; empty for none.
      seed: of the resamples.
    """
    options_Q = np.array([len(question.options) for question in questions])
    right_Q = np.array([question.right for question in questions])
    return _rows(
        "easy",
        [question.country for question in questions],
        _OPTIONS - options_Q,
        1 / options_Q,
        {method: easy_correct(each_QA, right_Q) for method, each_QA in probabilities.items()},
        versus,
        own,
        seed,
    )


def hard_rows(
    rows: Sequence[HardRow],
    p_true: Mapping[str, np.ndarray],
    versus: str,
    own: str = "",
    seed: int = 0,
) -> list[QuizRow]:
    """As `easy_rows` for CulturalBench-Hard, where a question counts if all its rows are right.

    Args:
      rows: R of them.
      p_true: method name to [R], the probability of True against False.
      versus: name of the method that the others are compared with.
      own: name of the country that prompts were tuned for; empty for none.
      seed: of the resamples.
    """
    questions = hard_questions(rows)
    judged_Q = np.array([len(same) for same in questions.values()])
    answer_R, question_R = [row.answer for row in rows], [row.question for row in rows]
    return _rows(
        "hard",
        [same[0].country for same in questions.values()],
        _OPTIONS - judged_Q,
        0.5**judged_Q,
        {method: hard_correct(each_R, answer_R, question_R) for method, each_R in p_true.items()},
        versus,
        own,
        seed,
    )


def _rows(
    form: str,
    country_Q: Sequence[str],
    skipped_Q: np.ndarray,
    chance_Q: np.ndarray,
    correct: Mapping[str, np.ndarray],
    versus: str,
    own: str,
    seed: int,
) -> list[QuizRow]:
    groups = {OVERALL: np.ones(len(country_Q), bool)}
    for country in dict.fromkeys(country_Q):
        groups[country] = np.array([each == country for each in country_Q])
    rows = []
    for country, in_Q in groups.items():
        for method, correct_Q in correct.items():
            own_Q, versus_Q = correct_Q[in_Q], correct[versus][in_Q]
            low, high = bootstrap_mean(own_Q, seed)
            wilson_low, wilson_high = wilson(own_Q)
            row = QuizRow(
                form=form,
                country=country,
                method=method,
                questions=len(own_Q),
                skipped=int(skipped_Q[in_Q].sum()),
                right=int(own_Q.sum()),
                accuracy=float(own_Q.mean()),
                low=low,
                high=high,
                wilson_low=wilson_low,
                wilson_high=wilson_high,
                chance=float(chance_Q[in_Q].mean()),
            )
            if method != versus:
                row = _compared(row, own_Q, versus_Q, versus, seed)
            rows.append(row)
    return _adjusted(rows, own)


def _compared(
    row: QuizRow, own_Q: np.ndarray, versus_Q: np.ndarray, versus: str, seed: int
) -> QuizRow:
    low, high = bootstrap_paired_difference(own_Q, versus_Q, seed)
    gained, lost, p = mcnemar(own_Q, versus_Q)
    return replace(
        row,
        versus=versus,
        difference=float(own_Q.mean() - versus_Q.mean()),
        difference_low=low,
        difference_high=high,
        gained=gained,
        lost=lost,
        p=p,
    )


def _adjusted(rows: list[QuizRow], own: str) -> list[QuizRow]:
    """Return the rows with `p_holm`, adjusted within the two families of tests."""
    planned: dict[int, float] = {}
    others: dict[int, float] = {}
    for index, row in enumerate(rows):
        if row.p is not None:
            is_planned = row.country == OVERALL or same_country(row.country, own)
            (planned if is_planned else others)[index] = row.p
    for family in (planned, others):
        for index, p in zip(family, holm(list(family.values())), strict=True):
            rows[index] = replace(rows[index], p_holm=p, comparisons=len(family))
    return rows
