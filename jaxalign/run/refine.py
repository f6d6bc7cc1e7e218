"""What is done with the best prompts after a search: scored again, and polished by gradients."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.fitness import Evaluator, Execution, loss_of_prompt
from jaxalign.objective import Task
from jaxalign.problem import Problem
from jaxalign.report import Steps
from jaxalign.report.numbers import format_loss
from jaxalign.run.engine import chooser
from jaxalign.search import Draw, Space, draw_key, embedding_std, full_space, with_limits
from jaxalign.search.gradient import (
    RELATIVE_RATE,
    Descent,
    Store,
    descend,
    forward_equivalents,
)
from jaxalign.settings import Settings

DRAWS = 100  # fresh samples of respondents that a noisy best is scored with


@dataclasses.dataclass(frozen=True, eq=False)
class Rescored:
    """Each country's prompt evaluated again, N times if respondents are drawn, else once.

    Attributes:
      loss_GN: its losses; N is `DRAWS` or 1.
      scores_GC, terms_GO: means of its scores and terms.
    """

    loss_GN: np.ndarray
    scores_GC: np.ndarray
    terms_GO: np.ndarray


def rescore(
    evaluator: Evaluator, weights: Any, task: Task, prompts_GLD: jax.Array, seed: int
) -> Rescored:
    """Evaluate each country's prompt again, with fresh samples of respondents.

    The search kept the luckiest of thousands of noisy losses, so its own figure is too good; and
    the model that it asked may have been quantised.

    Args:
      evaluator: without a mesh.
      weights: of the full model.
      task: what is asked and wanted.
      prompts_GLD: each country's best.
      seed: of the run.
    """
    function = jax.jit(evaluator)
    draws = DRAWS if evaluator.objective.is_noisy else 1
    drawn = jax.device_get(
        [
            function(weights, task, prompts_GLD, key=key)
            for key in jax.random.split(draw_key(seed, Draw.RESCORE), draws)
        ]
    )
    own_G = np.arange(prompts_GLD.shape[0])
    return Rescored(
        loss_GN=np.stack([each.loss_GP[own_G, own_G] for each in drawn], axis=1),
        scores_GC=np.mean([each.scores_PC for each in drawn], axis=0),
        terms_GO=np.mean([each.terms_GPO[own_G, own_G] for each in drawn], axis=0),
    )


@dataclasses.dataclass(frozen=True)
class PromptLoss:
    """The loss of one prompt for one country, to be differentiated.

    Equal ones compare equal, so that descents for several countries share one compilation.
    """

    evaluator: Evaluator

    def __call__(self, arguments: Any, prompt_LD: jax.Array) -> jax.Array:
        """Return the loss; `arguments` are weights, task, the country's index and the limits."""
        weights, task, country, space = arguments
        prompt_LD = space.prompts(prompt_LD)
        return loss_of_prompt(self.evaluator, weights, task, prompt_LD)[country]


def polish(
    settings: Settings,
    problem: Problem,
    prompt_LD: jax.Array,
    country: int,
    steps: int,
    store: Store | None = None,
) -> Descent:
    """Descend along the gradient of the loss with expected answers, whatever the readout.

    The limits of the search, `search.bounds` and `search.max_norm`, hold here too. Of presentations
    that are asked some at a time each step takes the next ones; where there are others to choose
    by, the prompt is kept that does best there.

    Args:
      settings: of the run.
      problem: whose model is asked; its task has the naive answers.
      prompt_LD: where to begin.
      country: index of its target.
      steps: of Adam.
      store: what it goes on from after a kill.

    Raises:
      Stopped: the store said so.
    """
    loss, arguments = _prompt_loss(settings, problem, country)
    weights, task, *others = arguments
    space: Space = arguments[-1]
    std = float(jax.jit(embedding_std)(problem.table_VD))
    choose, chosen = _score(settings, problem, country, space), ""
    with Steps("  gradient steps", steps) as shown:

        def show(step: int, loss: np.ndarray) -> None:
            shown.update(step + 1, f"loss {format_loss(float(loss))}{chosen}")

        def score(prompt_LD: jax.Array) -> float:
            nonlocal chosen
            found = float(choose(prompt_LD))
            chosen = f", {format_loss(found)} where it is chosen"
            return found

        descent = descend(
            loss,
            arguments,
            prompt_LD,
            steps,
            RELATIVE_RATE * std,
            show,
            turns=[(weights, part, *others) for part in task.parts()],
            score=score if problem.task.choosing is not None else None,
            store=store,
        )
    return dataclasses.replace(descent, prompt_LD=space.prompts(descent.prompt_LD))


def _score(
    settings: Settings, problem: Problem, country: int, space: Space
) -> Callable[[jax.Array], jax.Array]:
    """Return what gives a prompt's loss in the presentations to choose by."""
    choose = jax.jit(chooser(problem, Execution(1, settings.evaluation.attention)))

    def score(prompt_LD: jax.Array) -> jax.Array:
        prompt_1LD = space.prompts(prompt_LD)[None]
        given = (problem.weights, problem.task.choosing, prompt_1LD)
        return choose(*given, key=jax.random.key(0)).loss_GP[country, 0]

    return score


def gradient_cost(settings: Settings, problem: Problem) -> float:
    """Return the cost of one step of a polish in evaluations of a candidate, by their FLOPs."""
    shape = (settings.prompt.length, problem.model_config.width)
    prompt_LD = jax.ShapeDtypeStruct(shape, jnp.float32)
    return forward_equivalents(*_prompt_loss(settings, problem, 0), prompt_LD)


def _prompt_loss(settings: Settings, problem: Problem, country: int) -> tuple[PromptLoss, tuple]:
    """Return the loss to descend on and its arguments."""
    search = settings.search
    space = full_space(settings.prompt.length, problem.model_config.width)
    space = with_limits(space, search.bounds, search.max_norm, problem.table_VD)
    loss = PromptLoss(problem.evaluator(Execution(1, settings.evaluation.attention)))
    return loss, (problem.weights, problem.task, jnp.int32(country), space)
