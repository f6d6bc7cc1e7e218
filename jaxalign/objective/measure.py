"""What given answers are worth."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from jaxalign.objective.task import Goal
from jaxalign.settings import ObjectiveSettings
from jaxalign.survey import (
    Scoring,
    ShareScoring,
    accuracy,
    distance_to_target,
    item_means,
    log_likelihood,
    score_answers,
)


@dataclasses.dataclass(frozen=True)
class Objective:
    """How answers are read and compared; static under jit.

    Attributes:
      readout: `expected` takes the option probabilities, the mean of infinitely many respondents;
        `sampled` the shares among `respondents` seeded draws; `greedy` the likeliest option.
      respondents: draws of a sampled readout.
      norm: `l1` or `l2`.
      tail: share of the presentations, the worst, whose mean is the survey's term.
      weights: names and weights of the terms that add up to the loss.
    """

    readout: str = "expected"
    respondents: int = 50
    norm: str = "l1"
    tail: float = 1.0
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
        tail=settings.tail,
        weights=tuple((name, weights[name]) for name in sorted(weights) if weights[name]),
    )


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
        "survey": _mean_of_worst(
            distance_to_target(goal.scoring, scores_PFC, goal.target_GC, objective.norm),
            objective.tail,
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


def _mean_of_worst(distance_GPF: Float[Array, "G P F"], tail: float) -> Float[Array, "G P"]:
    """Return the mean of the largest share `tail`, the last of them counted in part."""
    if tail == 1.0:
        return jnp.mean(distance_GPF, axis=-1)
    formats = distance_GPF.shape[-1]
    weight_F = np.clip(max(1.0, tail * formats) - np.arange(formats), 0.0, 1.0)
    falling_GPF = jnp.sort(distance_GPF, axis=-1, descending=True)
    return falling_GPF @ (weight_F / weight_F.sum()).astype(np.float32)


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
