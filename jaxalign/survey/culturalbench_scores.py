"""CulturalBench scored as its authors do (arXiv 2410.02677): right or wrong, question by question.

A test of two methods needs a yes or no for each question, so no point is shared here. An answer
counts if its probability is higher than that of every other: a tie, or NaN, is no answer and is
wrong. A model that never chooses scores 0 %, below chance. Ties are rare outside sampled readouts.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxalign.survey.culturalbench import HardRow


def easy_correct(
    probabilities_QA: Float[np.ndarray, "Q A"], right_Q: Int[np.ndarray, " Q"] | Sequence[int]
) -> Bool[np.ndarray, " Q"]:
    """Return whether the right option of each question is likelier than every other one.

    Args:
      probabilities_QA: of the options; 0 where one is not offered.
      right_Q: index of the right option.
    """
    rows_Q = np.arange(len(probabilities_QA))
    others_QA = np.array(probabilities_QA, np.float64)
    right_probability_Q = others_QA[rows_Q, right_Q]
    others_QA[rows_Q, right_Q] = -np.inf
    return right_probability_Q > others_QA.max(axis=1)


def hard_correct(
    p_true_R: Float[np.ndarray, " R"],
    answer_R: Bool[np.ndarray, " R"] | Sequence[bool],
    question_R: Sequence[str],
) -> Bool[np.ndarray, " Q"]:
    """Return whether all rows of each question are judged right, questions in order of appearance.

    Args:
      p_true_R: probability of True where True and False are the only answers.
      answer_R: whether True is right.
      question_R: id of the question that each row belongs to.
    """
    p_true_R = np.asarray(p_true_R, np.float64)
    judged_R = np.where(answer_R, p_true_R > 0.5, p_true_R < 0.5)
    place = {question: index for index, question in enumerate(dict.fromkeys(question_R))}
    correct_Q = np.ones(len(place), bool)
    np.logical_and.at(correct_Q, [place[question] for question in question_R], judged_R)
    return correct_Q


def hard_questions(rows: Sequence[HardRow]) -> dict[str, list[HardRow]]:
    """Return the rows of each question by its id, in the order of `hard_correct`."""
    questions: dict[str, list[HardRow]] = {}
    for row in rows:
        questions.setdefault(row.question, []).append(row)
    return questions
