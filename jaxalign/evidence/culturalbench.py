"""CulturalBench put to the model with and without the tuned prompt.

A country has few questions (in the first version China 59, India 46, United States 20, Saudi
Arabia 17), so a share never stands without its interval, nor a difference without its test.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxalign.errors import UserError
from jaxalign.evidence.asking import Asker
from jaxalign.evidence.statistics import bootstrap_mean, holm, mcnemar, wilson
from jaxalign.prompts import Asked, ask_quiz, hard_text
from jaxalign.survey import (
    HARD_LABELS,
    QUIZ_LABELS,
    HardRow,
    Quiz,
    QuizQuestion,
    easy_correct,
    hard_correct,
    hard_questions,
    same_country,
)

OVERALL = "overall"
_NAIVE = "naive"
_OPTIONS = len(QUIZ_LABELS)


def ask_culturalbench(
    asker: Asker,
    easy: Quiz[QuizQuestion] | None,
    hard: Quiz[HardRow] | None,
    prompt_LD: np.ndarray,
    country: str,
    seed: int,
) -> dict[str, Any]:
    """Return scores on both forms, overall and by country, as in evaluation.json.

    A form that cannot be asked is named under `left_out`, with the reason.

    Args:
      asker: of the model.
      easy: the questions, or None.
      hard: the rows, or None.
      prompt_LD: the tuned prompt.
      country: name of the country that it was tuned for.
      seed: of the resamples.

    Raises:
      UserError: none of the forms can be asked.
    """
    source = easy or hard
    assert source is not None
    result: dict[str, Any] = {"source": source.source, "fixture": source.fixture}
    forms: dict[str, Callable[[], list[dict[str, Any]]]] = {}
    if easy is not None:
        forms["easy"] = lambda: easy_rows(
            easy.questions, _both(asker, ask_quiz(easy.questions), prompt_LD), country, seed
        )
    if hard is not None:
        asked = [
            Asked(hard_text(row), HARD_LABELS, f"CulturalBench-Hard row {row.id}")
            for row in hard.questions
        ]
        forms["hard"] = lambda: hard_rows(
            hard.questions,
            {name: each[:, 0] for name, each in _both(asker, asked, prompt_LD).items()},
            country,
            seed,
        )
    faults: list[UserError] = []
    for form, ask in forms.items():
        try:
            result[form] = {"rows": ask()}
        except UserError as fault:
            faults.append(fault)
            left_out = {"name": f"CulturalBench-{form.capitalize()}", "reason": str(fault)}
            result.setdefault("left_out", []).append(left_out)
    if len(faults) == len(forms):
        raise faults[0]
    return result


def _both(asker: Asker, asked: Sequence[Asked], prompt_LD: np.ndarray) -> dict[str, np.ndarray]:
    return {_NAIVE: asker.ask(asked)[0], "tuned": asker.ask(asked, prompt_LD[None])[0]}


def easy_rows(
    questions: Sequence[QuizQuestion],
    probabilities: Mapping[str, np.ndarray],
    own: str = "",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Score methods on CulturalBench-Easy: overall, then by country in order of appearance.

    All are compared with the method `naive`. p-values are adjusted in two families: overall and the
    country of `own`, which a run asks about from the start, and all other countries, which it only
    looks through.

    Args:
      questions: Q of them.
      probabilities: method name to [Q, A], the probability of each option; 0 where not offered.
      own: name of the country that prompts were tuned for; empty for none.
      seed: of the resamples.

    Returns:
      Fields of `CulturalBenchRow`, shares from 0 to 1. `n` counts questions and `skipped` the empty
      options that they lack; `low` and `high` are the 95 % bootstrap interval of accuracy over
      questions, and `wilson_low` and `wilson_high` the same by Wilson's formula, which has a width
      even where all answers are right or all wrong; `chance` is the accuracy of guessing with the
      options that are there: 25 % (easy) or 6.25 % (hard) where none is empty.
    """
    options_Q = np.array([len(question.options) for question in questions])
    right_Q = np.array([question.right for question in questions])
    return _rows(
        [question.country for question in questions],
        _OPTIONS - options_Q,
        1 / options_Q,
        {method: easy_correct(each_QA, right_Q) for method, each_QA in probabilities.items()},
        own,
        seed,
    )


def hard_rows(
    rows: Sequence[HardRow], p_true: Mapping[str, np.ndarray], own: str = "", seed: int = 0
) -> list[dict[str, Any]]:
    """Score CulturalBench-Hard as `easy_rows` does; a question counts if all its rows are right.

    Args:
      rows: R of them.
      p_true: method name to [R], the probability of True against False.
      own: name of the country that prompts were tuned for; empty for none.
      seed: of the resamples.
    """
    questions = hard_questions(rows)
    judged_Q = np.array([len(same) for same in questions.values()])
    answer_R, question_R = [row.answer for row in rows], [row.question for row in rows]
    return _rows(
        [same[0].country for same in questions.values()],
        _OPTIONS - judged_Q,
        0.5**judged_Q,
        {method: hard_correct(each_R, answer_R, question_R) for method, each_R in p_true.items()},
        own,
        seed,
    )


def _rows(
    country_Q: Sequence[str],
    skipped_Q: np.ndarray,
    chance_Q: np.ndarray,
    correct: Mapping[str, np.ndarray],
    own: str,
    seed: int,
) -> list[dict[str, Any]]:
    groups = {OVERALL: np.ones(len(country_Q), bool)}
    for country in dict.fromkeys(country_Q):
        groups[country] = np.array([each == country for each in country_Q])
    rows: list[dict[str, Any]] = []
    planned: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for scope, in_Q in groups.items():
        for method, correct_Q in correct.items():
            own_Q = correct_Q[in_Q]
            low, high = bootstrap_mean(own_Q, seed)
            wilson_low, wilson_high = wilson(own_Q)
            test = None
            if method != _NAIVE:
                test = mcnemar(own_Q, correct[_NAIVE][in_Q])._asdict()
                is_planned = scope == OVERALL or same_country(scope, own)
                (planned if is_planned else others).append(test)
            rows.append(
                {
                    "scope": scope,
                    "method": method,
                    "n": len(own_Q),
                    "skipped": int(skipped_Q[in_Q].sum()),
                    "accuracy": float(own_Q.mean()),
                    "low": low,
                    "high": high,
                    "wilson_low": wilson_low,
                    "wilson_high": wilson_high,
                    "chance": float(chance_Q[in_Q].mean()),
                    "mcnemar": test,
                }
            )
    for family in (planned, others):
        for test, p in zip(family, holm([test["p"] for test in family]), strict=True):
            test["p_holm"] = p
    return rows
