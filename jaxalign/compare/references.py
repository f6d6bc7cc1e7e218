"""Outside optimisers on the same objective, as yardsticks for ours.

Each is a plain function: losses in, history out. It draws from its own seeded generator and never
from NumPy's global one, so that runs may be interleaved. Neither package is needed by anything
else; both come with `pip install jaxalign[compare]`.
"""

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxalign.errors import UserError

Losses = Callable[[np.ndarray], np.ndarray]  # float32 vectors [B, N] to losses [B], +inf if failed
History = list[tuple[int, float]]  # (evaluations so far, best loss so far), one per generation


def scipy_de(
    losses: Losses,
    population_PN: np.ndarray,
    low_N: np.ndarray,
    high_N: np.ndarray,
    *,
    evaluations: int,
    seed: int,
    strategy: str = "best1bin",
    mutation: float | tuple[float, float] = (0.5, 1.0),
    recombination: float = 0.7,
) -> History:
    """Run `scipy.optimize.differential_evolution` with the settings that scipy ships.

    Only what would make the comparison unequal is changed: no gradient polish, no stop on
    convergence, and whole generations (`updating="deferred"`), as all others have. scipy clips the
    population into the bounds, and redraws a coordinate that leaves them.

    Args:
      losses: the objective.
      population_PN: the first population, evaluated as generation 0.
      low_N: lowest value of each coordinate.
      high_N: highest value of each coordinate.
      evaluations: never exceeded; a last generation that they do not pay for is dropped.
      seed: of `numpy.random.default_rng`.
      strategy: scipy's name of one.
      mutation: F; of a pair, F is drawn between them once a generation.
      recombination: CR.

    Returns:
      One entry per generation. A first population that failed as a whole is evaluated twice, since
      scipy takes it for one that has not been evaluated.

    Raises:
      UserError: scipy is missing, P is below the 5 that scipy needs, or the evaluations do not pay
        for the first population.
    """
    optimize = _import("scipy.optimize")
    population = population_PN.shape[0]
    if population < 5:
        raise UserError(f"compare: population {population}: scipy's DE needs at least 5")
    meter = _Meter(losses, evaluations, population)
    try:
        optimize.differential_evolution(
            lambda vectors_NB: meter(vectors_NB.T),
            list(zip(low_N, high_N, strict=True)),
            strategy=strategy,
            maxiter=evaluations // population - 1,
            mutation=mutation,
            recombination=recombination,
            init=population_PN,
            rng=np.random.default_rng(seed),
            polish=False,
            updating="deferred",
            vectorized=True,
            tol=0.0,
            atol=-1.0,  # at 0 a population of equal losses would still count as converged
        )
    except _SpentError:
        pass
    return meter.history


def cma_subspace(
    losses: Losses,
    projection_MN: np.ndarray,
    origin_N: np.ndarray,
    *,
    evaluations: int,
    seed: int,
    sigma: float = 1.0,
    population: int = 20,
) -> History:
    """Run pycma's CMA-ES over z in a random subspace; the prompt is origin + z A.

    Black-Box Tuning (Sun et al. 2022, ICML, arXiv 2201.03514), which has M = 500 and a population
    of 20. The search starts at z = 0 and ends with the evaluations: pycma's own stopping rules are
    not asked. CMA-ES ranks, so a failed candidate counts as the worst that did not fail; a
    generation that failed as a whole teaches nothing and is drawn again.

    Args:
      losses: the objective.
      projection_MN: A, for example of `random_projection`.
      origin_N: the prompt at z = 0.
      evaluations: never exceeded; a last generation that they do not pay for is dropped.
      seed: of `numpy.random.default_rng`.
      sigma: the first step length in z.
      population: candidates per generation.

    Raises:
      UserError: cma is missing, the population is below the 2 that CMA-ES needs, or the evaluations
        do not pay for one generation.
    """
    cma = _import("cma")
    if population < 2:
        raise UserError(f"compare: population {population}: CMA-ES needs at least 2")
    meter = _Meter(losses, evaluations, population)
    generator = np.random.default_rng(seed)
    settings = {
        "popsize": population,
        "randn": lambda *shape: generator.standard_normal(shape),
        "seed": math.nan,  # pycma would seed NumPy's global generator
        "verbose": -9,
    }
    search = cma.CMAEvolutionStrategy(np.zeros(projection_MN.shape[0]), sigma, settings)
    for _ in range(evaluations // population):
        candidates = search.ask()
        z_PM = np.stack(candidates).astype(np.float32)
        loss_P = meter(origin_N + z_PM @ projection_MN)
        finite_P = np.isfinite(loss_P)
        if finite_P.any():
            search.tell(candidates, np.where(finite_P, loss_P, loss_P[finite_P].max()).tolist())
    return meter.history


def random_projection(
    dimensions: int, coordinates: int, spread: float, seed: int, sigma: float = 1.0
) -> np.ndarray:
    """Draw A [M, N], float32: normal with standard deviation spread / (sqrt(M) sigma).

    With z of standard deviation sigma, z A then has the spread of the embeddings in every
    coordinate: BBTv2 (Sun et al. 2022, EMNLP, arXiv 2205.11200).

    Args:
      dimensions: M.
      coordinates: N.
      spread: standard deviation of all numbers of the embedding matrix.
      seed: of `numpy.random.default_rng`.
      sigma: CMA-ES's first step length.
    """
    generator = np.random.default_rng([seed, 1])  # apart from the z that CMA-ES draws from `seed`
    scale = np.float32(spread / (math.sqrt(dimensions) * sigma))
    return scale * generator.standard_normal((dimensions, coordinates), dtype=np.float32)


class _SpentError(Exception):
    """Leaves an optimiser that asks for more evaluations than there are."""


class _Meter:
    """The objective, counted: keeps the history and refuses what the evaluations do not pay for."""

    def __init__(self, losses: Losses, evaluations: int, population: int):
        if evaluations < population:
            raise UserError(
                f"compare: {evaluations} evaluations do not pay for one generation of {population}"
            )
        self.history: History = []
        self._losses = losses
        self._evaluations = evaluations

    def __call__(self, vectors_BN: np.ndarray) -> np.ndarray:
        spent, best = self.history[-1] if self.history else (0, math.inf)
        spent += vectors_BN.shape[0]
        if spent > self._evaluations:
            raise _SpentError
        loss_B = np.asarray(self._losses(np.ascontiguousarray(vectors_BN, np.float32)), float)
        self.history.append((spent, min(best, float(loss_B.min()))))
        return loss_B


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.split(".")[0]
        raise UserError(f"compare: {package} is not installed; install jaxalign[compare]") from None
