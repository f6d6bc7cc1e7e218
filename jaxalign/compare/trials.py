"""One search of a comparison: a method, a country and a seed, for a given number of evaluations."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.compare.references import History, cma_subspace, random_projection, scipy_de
from jaxalign.config import with_keys
from jaxalign.errors import UserError
from jaxalign.fitness import Execution
from jaxalign.problem import Problem
from jaxalign.report import Steps
from jaxalign.report.numbers import format_loss
from jaxalign.run.engine import make_evolution
from jaxalign.run.initialization import initialize
from jaxalign.run.refine import gradient_cost, polish
from jaxalign.search import embedding_std, generations_for, vocabulary_bounds
from jaxalign.search.state import Metrics
from jaxalign.settings import Settings

SUBSPACE = 500  # dimensions, as in Black-Box Tuning


class Trials:
    """Runs the searches of one method; what is compiled serves all its countries and seeds.

    Args:
      outside: name of a reference, or None for a strategy of this package.
      evaluations: of each search, never exceeded. A gradient counts as the evaluations that its
        floating-point operations would pay for.
      execution: how candidates are evaluated; no more at a time than a population has.
    """

    def __init__(self, outside: str | None, evaluations: int, execution: Execution):
        self._outside = outside
        self._evaluations = evaluations
        self._execution = execution
        self._steps: tuple[Callable, Callable] | None = None
        self._evaluate: Callable | None = None
        self._shown = Steps("", 0)

    def run(self, settings: Settings, problem: Problem) -> History:
        """Run one search and return its history, the first population's best loss first.

        Args:
          settings: with the seed and the method's keys.
          problem: with one country.

        Raises:
          UserError: the evaluations do not pay for the search.
        """
        search = settings.search
        population = search.population
        if population > self._evaluations:
            raise UserError(
                f"--evaluations={self._evaluations}: must pay for one population of {population}"
            )
        generations = generations_for(
            search.strategy, population, self._evaluations, search.strategy_params
        )
        settings = with_keys(settings, {"search.generations": generations})
        runs: dict[str | None, Callable] = {
            None: self._strategy,
            "scipy": self._scipy,
            "cma": self._cma,
            "gradient": self._gradient,
        }
        with Steps("  evaluations", self._evaluations) as self._shown:
            return runs[self._outside](settings, problem)

    def _strategy(self, settings: Settings, problem: Problem) -> History:
        plan = initialize(settings, problem)
        if self._steps is None or plan.strategy.spread_is_compiled:
            evolution = make_evolution(problem, plan, self._execution_of(settings))
            self._steps = jax.jit(evolution.start), jax.jit(evolution.step, donate_argnums=3)
        start, step = self._steps
        given = (problem.weights, problem.task, plan.space)
        key = jax.random.key(settings.seed)
        state, metrics = start(*given, plan.strategy.params, plan.vectors_E, key)
        history: History = []
        for _ in range(settings.search.generations):
            state, later = step(*given, state)
            self._read(metrics, history)  # one step late, so that the device never waits
            metrics = later
        self._read(metrics, history)
        return history

    def _read(self, metrics: Metrics, history: History) -> None:
        spent, best = jax.device_get((metrics.evaluations, metrics.best_loss_G[0]))
        history.append((int(spent), float(best)))
        self._shown.update(int(spent), f"best {format_loss(float(best))}")

    def _scipy(self, settings: Settings, problem: Problem) -> History:
        prompts_PLD = _first_prompts(settings, problem)
        population, length, _ = prompts_PLD.shape
        bounds = jax.jit(vocabulary_bounds)(problem.table_VD)
        low_N, high_N = (np.tile(np.asarray(bound_D, float), length) for bound_D in bounds)
        return scipy_de(
            self._loss_of_vectors(settings, problem),
            prompts_PLD.astype(float).reshape(population, -1),
            low_N,
            high_N,
            evaluations=self._evaluations,
            seed=settings.seed,
        )

    def _cma(self, settings: Settings, problem: Problem) -> History:
        """Start at the best of the first population, whose evaluations count."""
        prompts_PLD = _first_prompts(settings, problem)
        population = len(prompts_PLD)
        losses = self._loss_of_vectors(settings, problem)
        vectors_PN = prompts_PLD.reshape(population, -1)
        loss_P = losses(vectors_PN)
        spread = float(jax.jit(embedding_std)(problem.table_VD))
        coordinates = vectors_PN.shape[1]
        projection_MN = random_projection(
            min(SUBSPACE, coordinates), coordinates, spread, settings.seed
        )
        later = cma_subspace(
            losses,
            projection_MN,
            vectors_PN[np.argmin(loss_P)],
            evaluations=self._evaluations - population,
            seed=settings.seed,
        )
        initial = float(np.min(loss_P))
        history = [(population, initial)]
        history += [(population + spent, min(initial, best)) for spent, best in later]
        return history

    def _gradient(self, settings: Settings, problem: Problem) -> History:
        """Start at the best of the first population, whose evaluations count."""
        prompts_PLD = _first_prompts(settings, problem)
        population = prompts_PLD.shape[0]
        loss_P = self._loss_of_vectors(settings, problem)(prompts_PLD)
        initial = float(np.min(loss_P))
        cost = gradient_cost(settings, problem)
        steps = int((self._evaluations - population) / cost)
        if not steps:
            raise UserError(
                f"--evaluations={self._evaluations}: must pay for one population of {population} "
                f"and for a gradient, which costs as much as {cost:.1f}"
            )
        descent = polish(settings, problem, prompts_PLD[np.argmin(loss_P)], 0, steps)
        each = descent.evaluations_forward_equivalents / steps
        best_N = np.fmin.accumulate(np.fmin(descent.history_N, initial))
        history = [(population, initial)]
        history += [
            (population + round(each * step), float(best))
            for step, best in enumerate(best_N, start=1)
        ]
        return history

    def _execution_of(self, settings: Settings) -> Execution:
        chunk = min(self._execution.chunk, settings.search.population)
        return Execution(chunk, self._execution.attention)

    def _loss_of_vectors(
        self, settings: Settings, problem: Problem
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Return the same objective as a function of NumPy arrays, in batches of one shape."""
        population = settings.search.population
        shape = (population, settings.prompt.length, problem.model_config.width)
        if self._evaluate is None:
            self._evaluate = jax.jit(problem.evaluator(self._execution_of(settings)))
        compiled, spent, shown = self._evaluate, 0, self._shown
        key = jax.random.key(settings.seed)

        def batch(vectors_BN: np.ndarray) -> np.ndarray:
            prompts_PLD = np.zeros(shape, np.float32)
            prompts_PLD[: len(vectors_BN)] = vectors_BN.reshape(-1, *shape[1:])
            count = jnp.int32(len(vectors_BN))
            nonlocal spent
            spent += len(vectors_BN)
            shown.update(spent)
            result = compiled(problem.weights, problem.task, prompts_PLD, key=key, count=count)
            return np.asarray(result.loss_GP[0, : len(vectors_BN)])

        def losses(vectors_BN: np.ndarray) -> np.ndarray:
            parts = range(0, len(vectors_BN), population)
            return np.concatenate([batch(vectors_BN[at : at + population]) for at in parts])

        return losses


def _first_prompts(settings: Settings, problem: Problem) -> np.ndarray:
    """Return first prompts, float32 [P, L, D], for methods without a search space."""
    plan = initialize(settings, problem)
    return np.asarray(plan.space.prompts(plan.vectors_E))
