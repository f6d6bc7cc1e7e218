"""What is asked and what is wanted, as arrays: the argument of the jitted step."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from jaxalign.errors import UserError
from jaxalign.objective.layout import Layout, Turns, make_layout
from jaxalign.prompts import Questions
from jaxalign.settings import ObjectiveSettings
from jaxalign.survey import Quiz, Scoring, ShareScoring, load_quiz

TERMS = ("survey", "naive_distance", "prompt_norm")
CULTURALBENCH_TERMS = ("culturalbench_nll", "culturalbench_error")


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
      turns: what is asked of candidates, or None where that is all of it.
    """

    layout: Layout
    goal: Goal
    choosing: "Task | None" = None
    turns: Turns | None = None

    def at(self, generation: jax.Array) -> "Task":
        """Return what is asked of a generation's candidates."""
        if self.turns is None:
            return self
        part = generation // self.turns.generations % self.turns.rows_BQ.shape[0]
        layout, rows_Q = jax.tree.map(
            lambda each: jnp.asarray(each)[part], (self.turns.layout, self.turns.rows_BQ)
        )
        asked = dataclasses.replace(self, layout=layout, turns=None)
        return asked.with_goal(naive_QA=jnp.asarray(self.goal.naive_QA)[rows_Q])

    def parts(self) -> list["Task"]:
        """Return what is asked at a time, in turn; empty if that is all of it."""
        if self.turns is None:
            return []
        first_B = range(0, len(self.turns.rows_BQ) * self.turns.generations, self.turns.generations)
        return [self.at(jnp.int32(first)) for first in first_B]

    def with_goal(self, **changes: Any) -> "Task":
        """Return the task with some fields of its goal replaced."""
        return dataclasses.replace(self, goal=dataclasses.replace(self.goal, **changes))


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
    if asked_GB is None:
        asked_GB = np.zeros((len(target_GC), len(questions.right_B)))
    goal = Goal(
        scoring=scoring,
        target_GC=np.asarray(target_GC, np.float32),
        naive_QA=np.zeros(questions.answer_ids_QA.shape, np.float32),
        row_norm=np.float32(row_norm),
        right_B=questions.right_B,
        asked_GB=np.asarray(asked_GB, np.float32),
    )
    return Task(make_layout(questions), goal)
