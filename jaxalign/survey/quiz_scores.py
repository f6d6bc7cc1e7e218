"""Scores of answers to questions that have a right option: pure functions over arrays.

For the search, by country: B questions with up to A options, on G countries. Failed answers (NaN)
stay NaN, but only for the countries whose questions they answer.

As CulturalBench's authors score (arXiv 2410.02677), question by question: a test of two methods
needs a yes or no for each, so no point is shared. An answer counts if its probability is higher
than that of every other: a tie, or NaN, is no answer and is wrong. A model that never chooses
scores 0 %, below chance. Ties are rare outside sampled readouts.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxalign.survey.culturalbench import HardRow

# Log −13.8. A sampled readout gives shares of exactly 0, and one hopeless question should not
# outweigh all others in a mean over twenty.
SMALLEST_PROBABILITY = 1e-6


def accuracy(
    answers_BA: Float[Array, "*batch B A"],
    right_B: Int[Array, " B"] | np.ndarray,
    asked_GB: Float[Array, "G B"] | np.ndarray,
) -> Float[Array, "*batch G"]:
    """Share of each country's questions, 0 to 1, whose likeliest option is the right one.

    Options that are equally likely share the point, so that a model which does not choose scores
    at chance and gains nothing from where the right option stands.

    Args:
      answers_BA: probability of each option; 0 where it is not offered.
      right_B: index of the right option.
      asked_GB: 1 where the question is on the country, else 0. A country without any scores 0:
        refuse it before (`questions_for`).
    """
    highest_B1 = jnp.max(answers_BA, axis=-1, keepdims=True)
    best_BA = (answers_BA == highest_B1).astype(jnp.float32)
    points_B = _of_right(best_BA, right_B) / jnp.sum(best_BA, axis=-1)
    return _country_means(points_B, asked_GB)


def log_likelihood(
    answers_BA: Float[Array, "*batch B A"],
    right_B: Int[Array, " B"] | np.ndarray,
    asked_GB: Float[Array, "G B"] | np.ndarray,
) -> Float[Array, "*batch G"]:
    """Return the mean log-probability of the right option, in nats, for each country; at most 0.

    Probabilities below `SMALLEST_PROBABILITY` count as that, so the mean is finite and never below
    −13.8; where it is reached, a still smaller probability is no worse. Arguments as in `accuracy`.
    """
    right_probability_B = _of_right(answers_BA, right_B)
    logs_B = jnp.log(jnp.maximum(right_probability_B, SMALLEST_PROBABILITY))
    return _country_means(logs_B, asked_GB)


def _of_right(
    values_BA: Float[Array, "*batch B A"], right_B: Int[Array, " B"] | np.ndarray
) -> Float[Array, "*batch B"]:
    """Return the right option's value."""
    index_B1 = jnp.broadcast_to(jnp.asarray(right_B)[:, None], (*values_BA.shape[:-1], 1))
    return jnp.take_along_axis(values_BA, index_B1, axis=-1)[..., 0]


def _country_means(
    values_B: Float[Array, "*batch B"], asked_GB: Float[Array, "G B"] | np.ndarray
) -> Float[Array, "*batch G"]:
    """Return the mean over the questions of each country; 0 where there are none."""
    asked = jnp.asarray(asked_GB) > 0
    shape = (*values_B.shape[:-1], *asked.shape)
    # Chosen rather than multiplied by 0 or 1: NaN × 0 is NaN.
    chosen_GB = jnp.where(
        jnp.broadcast_to(asked, shape), jnp.broadcast_to(values_B[..., None, :], shape), 0.0
    )
    count_G = jnp.maximum(jnp.sum(asked, axis=-1), 1)
    sums_G = jnp.sum(chosen_GB, axis=-1)
    return sums_G / jnp.broadcast_to(count_G, sums_G.shape)


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
