"""One search of a comparison: a method, a country and a seed, for a given number of evaluations."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import config_dict

from jaxalign.compare.references import History, cma_subspace, random_projection, scipy_de
from jaxalign.engine import make_evolution, make_objective
from jaxalign.errors import UserError
from jaxalign.fitness import evaluate
from jaxalign.problem import Problem
from jaxalign.run.initialization import begin
from jaxalign.run.refine import gradient_cost, polish
from jaxalign.search import embedding_std, generations_for, vocabulary_bounds

SUBSPACE = 500  # dimensions, as in Black-Box Tuning


@dataclasses.dataclass(frozen=True)
class Trial:
    """What a search did.

    Attributes:
      history: evaluations so far and best loss so far, generation by generation.
      initial: the best loss of the first population.
    """

    history: History
    initial: float


class Trials:
    """Runs the searches of one method; what is compiled serves all its countries and seeds.

    Args:
      outside: name of a reference, or None for a strategy of this package.
      evaluations: of each search, never exceeded. A gradient counts as the evaluations that its
        floating-point operations would pay for.
      chunk: candidates evaluated at a time.
    """

    def __init__(self, outside: str | None, evaluations: int, chunk: int):
        self._outside = outside
        self._evaluations = evaluations
        self._chunk = chunk
        self._steps: tuple[Callable, Callable] | None = None
        self._evaluate: Callable | None = None

    def run(self, config: config_dict.ConfigDict, problem: Problem) -> Trial:
        """One search; `config` has the seed and the method's keys, `problem` one country."""
        config = config.copy_and_resolve_references()
        search = config.search
        population = search.population
        if population > self._evaluations:
            raise UserError(
                f"--evaluations={self._evaluations}: must pay for one population of {population}"
            )
        search.generations = generations_for(
            search.strategy, population, self._evaluations, search.strategy_params.to_dict()
        )
        runs: dict[str | None, Callable] = {
            None: self._strategy,
            "scipy": self._scipy,
            "cma": self._cma,
            "gradient": self._gradient,
        }
        return runs[self._outside](config, problem)

    def _strategy(self, config: config_dict.ConfigDict, problem: Problem) -> Trial:
        beginning = begin(config, problem)
        if self._steps is None or beginning.strategy.spread_is_compiled:
            chunk = min(self._chunk, config.search.population)
            evolution = make_evolution(config, problem, beginning, chunk)
            self._steps = jax.jit(evolution.start), jax.jit(evolution.step, donate_argnums=3)
        start, step = self._steps
        given = (problem.weights, problem.task, beginning.space)
        key = jax.random.key(config.seed)
        state, metrics = start(*given, beginning.strategy.params, beginning.vectors_E, key)
        seen = [metrics]
        for _ in range(config.search.generations):
            state, metrics = step(*given, state)
            seen.append(metrics)
        seen = jax.device_get(seen)
        history = [(int(each.evaluations), float(each.best_loss_G[0])) for each in seen]
        return Trial(history, history[0][1])

    def _scipy(self, config: config_dict.ConfigDict, problem: Problem) -> Trial:
        prompts_PLD = _first_prompts(config, problem)
        population, length, _ = prompts_PLD.shape
        bounds = jax.jit(vocabulary_bounds)(problem.weights["embedding"][...])
        low_N, high_N = (np.tile(np.asarray(bound_D, float), length) for bound_D in bounds)
        history = scipy_de(
            self._loss_of_vectors(config, problem),
            prompts_PLD.astype(float).reshape(population, -1),
            low_N,
            high_N,
            self._evaluations,
            config.seed,
        )
        return Trial(history, history[0][1])

    def _cma(self, config: config_dict.ConfigDict, problem: Problem) -> Trial:
        """Starts at the best of the first population, which it pays for."""
        prompts_PLD = _first_prompts(config, problem)
        population = len(prompts_PLD)
        losses = self._loss_of_vectors(config, problem)
        vectors_PN = prompts_PLD.reshape(population, -1)
        loss_P = losses(vectors_PN)
        spread = float(jax.jit(embedding_std)(problem.weights["embedding"][...]))
        coordinates = vectors_PN.shape[1]
        projection_MN = random_projection(
            min(SUBSPACE, coordinates), coordinates, spread, config.seed
        )
        later = cma_subspace(
            losses,
            projection_MN,
            vectors_PN[np.argmin(loss_P)],
            self._evaluations - population,
            config.seed,
        )
        initial = float(np.min(loss_P))
        history = [(population, initial)]
        history += [(population + spent, min(initial, best)) for spent, best in later]
        return Trial(history, initial)

    def _gradient(self, config: config_dict.ConfigDict, problem: Problem) -> Trial:
        """Starts at the best of the first population, which it pays for."""
        prompts_PLD = _first_prompts(config, problem)
        population = prompts_PLD.shape[0]
        loss_P = self._loss_of_vectors(config, problem)(prompts_PLD)
        initial = float(np.min(loss_P))
        cost = gradient_cost(config, problem)
        steps = int((self._evaluations - population) / cost)
        if not steps:
            raise UserError(
                f"--evaluations={self._evaluations}: must pay for one population of {population} "
                f"and for a gradient, which costs as much as {cost:.1f}"
            )
        descent = polish(config, problem, problem.task, prompts_PLD[np.argmin(loss_P)], 0, steps)
        each = descent.evaluations_forward_equivalents / steps
        best_N = np.fmin.accumulate(np.fmin(descent.history_N, initial))
        history = [(population, initial)]
        history += [
            (population + round(each * step), float(best))
            for step, best in enumerate(best_N, start=1)
        ]
        return Trial(history, initial)

    def _loss_of_vectors(
        self, config: config_dict.ConfigDict, problem: Problem
    ) -> Callable[[np.ndarray], np.ndarray]:
        """The same objective as a function of NumPy arrays, in batches of one shape."""
        population = config.search.population
        shape = (population, config.prompt.length, problem.model_config.width)
        if self._evaluate is None:
            objective = make_objective(config, min(self._chunk, population))
            self._evaluate = jax.jit(functools.partial(evaluate, problem.graphdef, objective))
        compiled = self._evaluate
        key = jax.random.key(config.seed)

        def batch(vectors_BN: np.ndarray) -> np.ndarray:
            prompts_PLD = np.zeros(shape, np.float32)
            prompts_PLD[: len(vectors_BN)] = vectors_BN.reshape(-1, *shape[1:])
            count = jnp.int32(len(vectors_BN))
            result = compiled(problem.weights, problem.task, prompts_PLD, key, count)
            return np.asarray(result.loss_GP[0, : len(vectors_BN)])

        def losses(vectors_BN: np.ndarray) -> np.ndarray:
            parts = range(0, len(vectors_BN), population)
            return np.concatenate([batch(vectors_BN[at : at + population]) for at in parts])

        return losses


def _first_prompts(config: config_dict.ConfigDict, problem: Problem) -> np.ndarray:
    """Where strategies in the config's space start, float32 [P, L, D], for what has no space."""
    beginning = begin(config, problem)
    return np.asarray(beginning.space.prompts(beginning.vectors_E))
