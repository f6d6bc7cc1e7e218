"""What is asked and what is wanted, as arrays; and what given answers are worth."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from jaxalign.errors import UserError
from jaxalign.model import Tree, cut_tree
from jaxalign.prompts import Longer, Questions
from jaxalign.settings import ObjectiveSettings
from jaxalign.survey import (
    Quiz,
    Scoring,
    ShareScoring,
    accuracy,
    distance_to_target,
    item_means,
    load_quiz,
    log_likelihood,
    score_answers,
)

TERMS = ("survey", "naive_distance", "prompt_norm")
CULTURALBENCH_TERMS = ("culturalbench_nll", "culturalbench_error")


@struct.dataclass
class Layout:
    """What is asked: Q questions as one token trie of T nodes.

    The I items of the survey in each of F formats come first; B questions of CulturalBench follow.
    Options are in the survey's own order, whatever the format.

    Attributes:
      tokens_T, positions_T: the nodes' tokens and depths.
      mask_TT: whether the row's node attends to the column's; tree: the same in blocks.
      answer_nodes_Q: nodes at which answers are read.
      answer_ids_QA, offered_QA: option tokens, and whether the option exists.
      longer: options that one token does not tell apart, or None; see `prompts.Longer`.
    """

    tokens_T: Int[Array, " T"] | np.ndarray
    positions_T: Int[Array, " T"] | np.ndarray
    mask_TT: Bool[Array, "T T"] | np.ndarray
    tree: Tree
    answer_nodes_Q: Int[Array, " Q"] | np.ndarray
    answer_ids_QA: Int[Array, "Q A"] | np.ndarray
    offered_QA: Bool[Array, "Q A"] | np.ndarray
    longer: Longer | None = None


@struct.dataclass
class Goal:
    """What is wanted: the scores to reach, for each of G countries.

    Attributes:
      scoring: how the survey is scored.
      target_GC: scores to reach.
      naive_QA: answers of the model without a soft prompt; zeros until they are known.
      row_norm: mean Euclidean norm of the model's embedding rows.
      right_B: index of the right option of each CulturalBench question.
      asked_GB: 1 where the question is about the country.
    """

    scoring: Scoring | ShareScoring
    target_GC: Float[Array, "G C"] | np.ndarray
    naive_QA: Float[Array, "Q A"] | np.ndarray
    row_norm: Float[Array, ""] | np.ndarray
    right_B: Int[Array, " B"] | np.ndarray
    asked_GB: Float[Array, "G B"] | np.ndarray

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the O terms that every candidate is measured by."""
        return TERMS + (CULTURALBENCH_TERMS if self.right_B.shape[0] else ())


@struct.dataclass
class Task:
    """What is asked and what is wanted: an argument of the jitted step.

    Attributes:
      layout, goal: of the search.
      choosing: the survey in other presentations, by which prompts are chosen; or None.
    """

    layout: Layout
    goal: Goal
    choosing: "Task | None" = None

    def with_goal(self, **changes: Any) -> "Task":
        """Return the task with some fields of its goal replaced."""
        return dataclasses.replace(self, goal=dataclasses.replace(self.goal, **changes))


@dataclasses.dataclass(frozen=True)
class Objective:
    """How answers are read and compared; static under jit.

    Attributes:
      readout: `expected` takes the option probabilities, the mean of infinitely many respondents;
        `sampled` the shares among `respondents` seeded draws; `greedy` the likeliest option.
      respondents: draws of a sampled readout.
      norm: `l1` or `l2`.
      weights: names and weights of the terms that add up to the loss.
    """

    readout: str = "expected"
    respondents: int = 50
    norm: str = "l1"
    weights: tuple[tuple[str, float], ...] = (("survey", 1.0),)

    @property
    def is_noisy(self) -> bool:
        """Whether the same prompt may have another loss the next time."""
        return self.readout == "sampled"


@struct.dataclass
class Evaluation:
    """What P candidates answered, and what that is worth to each of G countries.

    Attributes:
      loss_GP: weighted sum of the terms; +inf where it is not finite.
      scores_PC: mean over the formats; the same for all countries.
      answers_PQA: share of respondents for each option.
      terms_GPO: the terms, each to be minimised, in the order of `Goal.terms`: distance of the
        scores to the target, mean over the formats; mean total variation distance to the naive
        answers, in percent; mean row norm of the prompt over that of real embeddings; mean negative
        log-likelihood of CulturalBench's right options, in nats; share of its questions answered
        wrongly, in percent.
    """

    loss_GP: Float[Array, "G P"]
    scores_PC: Float[Array, "P C"]
    answers_PQA: Float[Array, "P Q A"]
    terms_GPO: Float[Array, "G P O"]


def make_objective(settings: ObjectiveSettings) -> Objective:
    """Return the objective that the settings describe."""
    weights = dataclasses.asdict(settings.terms)
    return Objective(
        readout=settings.readout,
        respondents=settings.respondents,
        norm=settings.norm,
        weights=tuple((name, weights[name]) for name in sorted(weights) if weights[name]),
    )


def load_culturalbench(objective: ObjectiveSettings) -> Quiz | None:
    """Return the questions that the objective asks for, or None.

    Raises:
      UserError: they cannot be read, or a term needs questions and there are none.
    """
    if objective.culturalbench:
        return load_quiz(objective.culturalbench)
    for name in CULTURALBENCH_TERMS:
        if weight := getattr(objective.terms, name):
            raise UserError(
                f"objective.terms.{name}={weight:g}: needs questions; set objective.culturalbench "
                "to a CSV of CulturalBench-Easy, or to `fixture`"
            )
    return None


def make_task(
    questions: Questions,
    scoring: Scoring | ShareScoring,
    target_GC: np.ndarray,
    asked_GB: np.ndarray | None = None,
    row_norm: float = 1.0,
) -> Task:
    """Lay out a survey, CulturalBench and targets as arrays.

    Args:
      questions: of the survey and of CulturalBench.
      scoring: how the survey is scored.
      target_GC: scores to reach, for each country.
      asked_GB: 1 where a CulturalBench question is about the country; None without CulturalBench.
      row_norm: mean norm of the model's embedding rows.
    """
    trie = questions.trie
    if asked_GB is None:
        asked_GB = np.zeros((len(target_GC), len(questions.right_B)))
    layout = Layout(
        tokens_T=trie.tokens_T,
        positions_T=trie.positions_T,
        mask_TT=trie.ancestors_TT(),
        tree=cut_tree(trie.parents_T),
        answer_nodes_Q=trie.answer_nodes_Q,
        answer_ids_QA=questions.answer_ids_QA,
        offered_QA=questions.offered_QA,
        longer=questions.longer,
    )
    goal = Goal(
        scoring=scoring,
        target_GC=np.asarray(target_GC, np.float32),
        naive_QA=np.zeros(questions.answer_ids_QA.shape, np.float32),
        row_norm=np.float32(row_norm),
        right_B=questions.right_B,
        asked_GB=np.asarray(asked_GB, np.float32),
    )
    return Task(layout, goal)


def measure_answers(
    objective: Objective,
    goal: Goal,
    prompts_PLD: Float[Array, "P L D"],
    answers_PQA: Float[Array, "P Q A"],
) -> Evaluation:
    """Return scores, terms and losses of given answers."""
    asked = answers_PQA.shape[1] - goal.right_B.shape[0]
    survey_PFQA = by_format(goal.scoring, answers_PQA[:, :asked])
    scores_PFC = score_answers(goal.scoring, survey_PFQA)
    moved_PQ = jnp.sum(jnp.abs(answers_PQA - jnp.asarray(goal.naive_QA)[None]), axis=-1) / 2
    norms_PL = jnp.linalg.norm(prompts_PLD.astype(jnp.float32), axis=-1)
    norm_P = jnp.sum(norms_PL, axis=-1) / max(norms_PL.shape[1], 1)
    measured = {
        "survey": jnp.mean(
            distance_to_target(goal.scoring, scores_PFC, goal.target_GC, objective.norm), axis=-1
        ),
        "naive_distance": 100.0 * jnp.mean(moved_PQ[:, :asked], axis=-1),
        "prompt_norm": norm_P / goal.row_norm,
    }
    if goal.right_B.shape[0]:
        arguments = answers_PQA[:, asked:], goal.right_B, goal.asked_GB
        measured["culturalbench_nll"] = -log_likelihood(*arguments).T
        measured["culturalbench_error"] = 100.0 * (1.0 - accuracy(*arguments).T)
    shape = measured["survey"].shape
    terms_GPO = jnp.stack(
        [jnp.broadcast_to(jnp.atleast_2d(measured[name]), shape) for name in goal.terms], axis=-1
    )
    loss_GP = sum(
        weight * terms_GPO[..., goal.terms.index(name)] for name, weight in objective.weights
    )
    loss_GP = jnp.where(jnp.isfinite(loss_GP), loss_GP, jnp.inf)
    return Evaluation(loss_GP, jnp.mean(scores_PFC, axis=1), answers_PQA, terms_GPO)


def read_means(goal: Goal, answers_PQA: Float[Array, "P Q A"]) -> tuple[jax.Array, ...]:
    """Return what linear scores are made of: mean answers [P, F, I], weights [C, I], wanted [G, C].

    Raises:
      TypeError: the survey's scores are not linear in the means.
    """
    if isinstance(goal.scoring, ShareScoring):
        raise TypeError("scores of answer distributions are not linear in mean answers")
    asked = answers_PQA.shape[1] - goal.right_B.shape[0]
    means_PFI = item_means(goal.scoring, by_format(goal.scoring, answers_PQA[:, :asked]))
    wanted_GC = jnp.asarray(goal.target_GC) - jnp.asarray(goal.scoring.constant_C)[None]
    return means_PFI, jnp.asarray(goal.scoring.weights_CQ), wanted_GC


def by_format(
    scoring: Scoring | ShareScoring, answers_PQA: Float[Array, "P FxI A"]
) -> Float[Array, "P F I A"]:
    """Return answers to a survey alone, format by format, over the options that its items have."""
    items, options = scoring.values_QA.shape
    population, rows = answers_PQA.shape[:2]
    shape = (population, rows // items, items, answers_PQA.shape[2])
    return answers_PQA.reshape(shape)[..., :options]
