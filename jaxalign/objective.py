"""What is asked and wanted, as arrays; and what given answers are worth, objective by objective."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxalign.model import AUTO, Tree, cut_tree
from jaxalign.prompts import Questions
from jaxalign.survey import (
    Scoring,
    ShareScoring,
    accuracy,
    distance_to_target,
    log_likelihood,
    score_answers,
)

TERMS = ("survey", "naive_distance", "prompt_norm")
BENCHMARK_TERMS = ("benchmark_nll", "benchmark_error")


class Task(NamedTuple):
    """What is asked and what is wanted, as arrays (a pytree, an argument of the jitted step).

    The survey's I items in each of F formats are the first of the Q questions; a benchmark's B
    questions follow. Options stand in the survey's own order, whatever the format.

    Attributes:
      tokens_T, positions_T: the trie's nodes and their depths.
      mask_TT: whether the row's node may attend to the column's; tree: the same in blocks.
      answer_nodes_Q: where answers are read.
      answer_ids_QA, offered_QA: option tokens, and whether the option exists.
      scoring: how the survey is scored.
      target_GC: scores to reach, for each country.
      naive_QA: what the model answers without a prompt; zeros until that is known.
      row_norm: mean Euclidean norm of the model's embedding rows.
      right_B: index of the right option of each benchmark question.
      asked_GB: 1 where the question is about the country.
    """

    tokens_T: Int[Array, " T"] | np.ndarray
    positions_T: Int[Array, " T"] | np.ndarray
    mask_TT: Bool[Array, "T T"] | np.ndarray
    tree: Tree
    answer_nodes_Q: Int[Array, " Q"] | np.ndarray
    answer_ids_QA: Int[Array, "Q A"] | np.ndarray
    offered_QA: Bool[Array, "Q A"] | np.ndarray
    scoring: Scoring | ShareScoring
    target_GC: Float[Array, "G C"] | np.ndarray
    naive_QA: Float[Array, "Q A"] | np.ndarray
    row_norm: Float[Array, ""] | np.ndarray
    right_B: Int[Array, " B"] | np.ndarray
    asked_GB: Float[Array, "G B"] | np.ndarray

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the O objectives that every candidate is measured by."""
        return TERMS + (BENCHMARK_TERMS if self.right_B.shape[0] else ())


@dataclasses.dataclass(frozen=True)
class Objective:
    """How answers are read and compared; static under jit.

    Attributes:
      readout: `expected` takes the option probabilities, the mean of infinitely many respondents;
        `sampled` the shares among `respondents` seeded draws; `greedy` the likeliest option.
      respondents: of a sampled readout.
      norm: `l1` or `l2`.
      weights: of the objectives in the loss, by name; those left out are measured only.
      chunk: candidates evaluated at a time.
      attention: implementation, by name; see `jaxalign.model.attend`.
    """

    readout: str = "expected"
    respondents: int = 50
    norm: str = "l1"
    weights: tuple[tuple[str, float], ...] = (("survey", 1.0),)
    chunk: int = 1
    attention: str = AUTO


class Evaluation(NamedTuple):
    """What P candidates answered, and what that is worth to each of G countries.

    Attributes:
      loss_GP: weighted sum of the objectives; +inf where it is not finite.
      scores_PC: scores, mean over the formats; no country has a part in them.
      answers_PQA: share of respondents for each option.
      terms_GPO: the objectives, each to be minimised, in the order of `Task.terms`: distance of the
        scores to the target, mean over the formats; mean total variation distance to the naive
        answers, in percent; mean row norm of the prompt over that of real embeddings; mean negative
        log-likelihood of the benchmark's right options, in nats; share of its questions answered
        wrongly, in percent.
    """

    loss_GP: Float[Array, "G P"]
    scores_PC: Float[Array, "P C"]
    answers_PQA: Float[Array, "P Q A"]
    terms_GPO: Float[Array, "G P O"]


def make_task(
    questions: Questions,
    scoring: Scoring | ShareScoring,
    target_GC: np.ndarray,
    asked_GB: np.ndarray | None = None,
    row_norm: float = 1.0,
) -> Task:
    """Lays out a survey, a benchmark and targets as arrays.

    Args:
      questions: of survey and benchmark.
      scoring: how the survey is scored.
      target_GC: scores to reach, for each country.
      asked_GB: 1 where a benchmark question is about the country; None without a benchmark.
      row_norm: mean norm of the model's embedding rows.
    """
    trie = questions.trie
    target_GC = np.asarray(target_GC, np.float32)
    if asked_GB is None:
        asked_GB = np.zeros((len(target_GC), len(questions.right_B)))
    return Task(
        tokens_T=trie.tokens_T,
        positions_T=trie.positions_T,
        mask_TT=trie.ancestors_TT(),
        tree=cut_tree(trie.parents_T),
        answer_nodes_Q=trie.answer_nodes_Q,
        answer_ids_QA=questions.answer_ids_QA,
        offered_QA=questions.offered_QA,
        scoring=scoring,
        target_GC=target_GC,
        naive_QA=np.zeros(questions.answer_ids_QA.shape, np.float32),
        row_norm=np.float32(row_norm),
        right_B=questions.right_B,
        asked_GB=np.asarray(asked_GB, np.float32),
    )


def measure_answers(
    objective: Objective,
    task: Task,
    population_PLD: Float[Array, "P L D"],
    answers_PQA: Float[Array, "P Q A"],
) -> Evaluation:
    """Scores, objectives and losses of given answers."""
    asked = answers_PQA.shape[1] - task.right_B.shape[0]
    survey_PFQA = by_format(task.scoring, answers_PQA[:, :asked])
    scores_PFC = score_answers(task.scoring, survey_PFQA)
    moved_PQ = jnp.sum(jnp.abs(answers_PQA - jnp.asarray(task.naive_QA)[None]), axis=-1) / 2
    norms_PL = jnp.linalg.norm(population_PLD.astype(jnp.float32), axis=-1)
    norm_P = jnp.sum(norms_PL, axis=-1) / max(norms_PL.shape[1], 1)
    measured = {
        "survey": jnp.mean(
            distance_to_target(task.scoring, scores_PFC, task.target_GC, objective.norm), axis=-1
        ),
        "naive_distance": 100.0 * jnp.mean(moved_PQ[:, :asked], axis=-1),
        "prompt_norm": norm_P / task.row_norm,
    }
    if task.right_B.shape[0]:
        arguments = answers_PQA[:, asked:], task.right_B, task.asked_GB
        measured["benchmark_nll"] = -log_likelihood(*arguments).T
        measured["benchmark_error"] = 100.0 * (1.0 - accuracy(*arguments).T)
    shape = measured["survey"].shape
    terms_GPO = jnp.stack(
        [jnp.broadcast_to(jnp.atleast_2d(measured[name]), shape) for name in task.terms], axis=-1
    )
    loss_GP = sum(
        weight * terms_GPO[..., task.terms.index(name)] for name, weight in objective.weights
    )
    loss_GP = jnp.where(jnp.isfinite(loss_GP), loss_GP, jnp.inf)
    return Evaluation(loss_GP, jnp.mean(scores_PFC, axis=1), answers_PQA, terms_GPO)


def by_format(
    scoring: Scoring | ShareScoring, answers_PQA: Float[Array, "P FxI A"]
) -> Float[Array, "P F I A"]:
    """Answers to a survey alone, format by format, over the options that its items have."""
    items, options = scoring.values_QA.shape
    population, rows = answers_PQA.shape[:2]
    shape = (population, rows // items, items, answers_PQA.shape[2])
    return answers_PQA.reshape(shape)[..., :options]
