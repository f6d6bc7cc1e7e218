"""What is done with the best prompts after a search: scored again, and a gradient polish."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import config_dict

from jaxalign.engine import Engine, make_objective
from jaxalign.fitness import evaluate, loss_of_prompt
from jaxalign.objective import Objective, Task
from jaxalign.problem import Problem
from jaxalign.run.initialization import RESCORE
from jaxalign.search import Space, embedding_std, full_space, with_limits
from jaxalign.search.gradient import RELATIVE_RATE, Descent, descend, forward_equivalents

DRAWS = 100  # fresh samples of respondents that a noisy best is scored with


@dataclasses.dataclass(frozen=True, eq=False)
class Rescored:
    """Each country's prompt put to the full model, N times if respondents are drawn, else once.

    Attributes:
      loss_GN: its losses; N is `DRAWS` or 1.
      scores_GC, terms_GO: means of its scores and objectives.
    """

    loss_GN: np.ndarray
    scores_GC: np.ndarray
    terms_GO: np.ndarray


def rescore(
    config: config_dict.ConfigDict, problem: Problem, engine: Engine, prompts_GLD: jax.Array
) -> Rescored:
    """Scores each country's prompt with fresh samples of respondents, by the problem's model.

    The search kept the luckiest of thousands of noisy losses, so its own figure is too good; and
    the model that it asked may have been quantised.
    """
    objective = make_objective(config, engine.chunk)
    function = jax.jit(functools.partial(evaluate, problem.graphdef, objective))
    key = jax.random.fold_in(jax.random.key(config.seed), RESCORE)
    drawn = [
        function(problem.weights, engine.task, prompts_GLD, each)
        for each in jax.random.split(key, DRAWS if objective.readout == "sampled" else 1)
    ]
    place_G = np.arange(prompts_GLD.shape[0])
    drawn = jax.device_get(drawn)
    return Rescored(
        loss_GN=np.stack([each.loss_GP[place_G, place_G] for each in drawn], axis=1),
        scores_GC=np.mean([each.scores_PC for each in drawn], axis=0),
        terms_GO=np.mean([each.terms_GPO[place_G, place_G] for each in drawn], axis=0),
    )


def polish(
    config: config_dict.ConfigDict,
    problem: Problem,
    task: Task,
    prompt_LD: jax.Array,
    country: int,
    steps: int,
) -> Descent:
    """Descends along the gradient of the loss with expected answers, whatever the readout.

    The limits of the search, `search.bounds` and `search.max_norm`, hold here too.

    Args:
      config: of the run.
      problem: whose model is asked.
      task: what is asked and wanted.
      prompt_LD: where to begin.
      country: its place among the targets.
      steps: of Adam.
    """
    space = _limits(config, problem)
    arguments = (problem.weights, task, jnp.int32(country), space)
    std = float(jax.jit(embedding_std)(problem.weights["embedding"][...]))
    loss = PromptLoss(problem.graphdef, make_objective(config, 1))
    descent = descend(loss, arguments, prompt_LD, steps, RELATIVE_RATE * std)
    return dataclasses.replace(descent, prompt_LD=space.prompts(descent.prompt_LD))


def gradient_cost(config: config_dict.ConfigDict, problem: Problem) -> float:
    """One step of a polish, in evaluations of a candidate: the ratio of their FLOPs."""
    shape = (config.prompt.length, problem.model_config.width)
    loss = PromptLoss(problem.graphdef, make_objective(config, 1))
    arguments = (problem.weights, problem.task, jnp.int32(0), _limits(config, problem))
    return forward_equivalents(loss, arguments, jax.ShapeDtypeStruct(shape, jnp.float32))


@dataclasses.dataclass(frozen=True)
class PromptLoss:
    """The loss of one prompt for one country, to be differentiated.

    Equal ones compare equal, so that descents for several countries share one compilation.
    """

    graphdef: Any
    objective: Objective

    def __call__(self, arguments: Any, prompt_LD: jax.Array) -> jax.Array:
        """The loss, with `arguments` of weights, task, the country's place, and the limits."""
        weights, task, country, space = arguments
        prompt_LD = space.prompts(prompt_LD)
        return loss_of_prompt(self.graphdef, self.objective, weights, task, prompt_LD)[country]


def _limits(config: config_dict.ConfigDict, problem: Problem) -> Space:
    """The full space, with the limits of the config."""
    search, table_VD = config.search, problem.weights["embedding"][...]
    space = full_space(config.prompt.length, table_VD.shape[1])
    return with_limits(space, search.bounds, search.max_norm, table_VD)
