"""The adaptive strategies reach what their papers are known for, at equal evaluations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jaxalign.search import make_strategy
from jaxalign.search.lshade import lshade_sizes

P, N, EVALUATIONS, SEEDS = 30, 10, 9000, 11
# Compile time, not run time, is what these tests cost.
OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
rng = np.random.default_rng(0)
TURN, SHIFT = np.linalg.qr(rng.normal(size=(N, N)))[0], rng.uniform(-2, 2, N)
FUNCTIONS = ["sphere", "ellipsoid", "rosenbrock", "rastrigin"]


def sphere(x, xp):
    return xp.sum((x - xp.asarray(SHIFT)) ** 2, axis=-1)


def ellipsoid(x, xp):
    """Turned, shifted, of condition 10^6."""
    return xp.sum(
        10.0 ** xp.linspace(0, 6, N) * ((x - xp.asarray(SHIFT)) @ xp.asarray(TURN)) ** 2, -1
    )


def rosenbrock(x, xp):
    return xp.sum(100 * (x[..., 1:] - x[..., :-1] ** 2) ** 2 + (1 - x[..., :-1]) ** 2, axis=-1)


def rastrigin(x, xp):
    y = x - xp.asarray(SHIFT)
    return 10 * N + xp.sum(y**2 - 10 * xp.cos(2 * np.pi * y), axis=-1)


def suite(which, x):
    """All functions in one compiled search; the first of them that is asked for."""
    with jax.numpy_rank_promotion("allow"):
        values = jnp.stack([globals()[name](x, jnp) for name in FUNCTIONS])
    return values[which]


@functools.cache
def found(name: str, population: int = P, **params) -> dict[str, np.ndarray]:
    """Smallest losses [seeds, generations] on each function, searched from [-5, 5]."""
    generations = EVALUATIONS // population - 1
    if name == "LSHADE":
        params["max_evaluations"] = EVALUATIONS
        generations = len([*lshade_sizes(population, EVALUATIONS)]) - 1
    strategy = make_strategy(name, population, (N,), 1.0, params, generations)

    def search(which, key):
        start_key, init_key, key = jax.random.split(key, 3)
        start = jax.random.uniform(start_key, (population, N), minval=-5.0, maxval=5.0)

        def step(state, step_key):
            ask_key, tell_key = jax.random.split(step_key)
            trials, asked = strategy.ask(ask_key, strategy.params, state)
            told = strategy.tell(tell_key, strategy.params, trials, suite(which, trials), asked)
            told = jax.tree.map(lambda new, old: new.astype(old.dtype), told, state)
            return told, told.best_fitness

        state = strategy.init(init_key, strategy.params, start, suite(which, start))
        state = jax.tree.map(jnp.asarray, state)
        return jax.lax.scan(step, state, jax.random.split(key, generations))[1]

    keys = jax.random.split(jax.random.key(7), SEEDS)
    over = jax.vmap(jax.vmap(search, (None, 0)), (0, None))
    best = np.asarray(jax.jit(over, compiler_options=OPTIONS)(jnp.arange(len(FUNCTIONS)), keys))
    return dict(zip(FUNCTIONS, best, strict=True))


def classic() -> dict[str, np.ndarray]:
    """DE/rand/1/bin with the settings that most papers compare with."""
    settings = {"elitism": False, "differential_weight": 0.5, "crossover_rate": 0.9}
    return found("DifferentialEvolution", **settings)


def median(losses, share: float = 1.0) -> float:
    """Over the seeds, after this share of the generations."""
    return float(np.median(losses[:, int(share * losses.shape[1]) - 1]))


@pytest.mark.parametrize("name", ["JADE", "SHADE"])
def test_the_sphere_is_solved_long_before_classic_de(name):
    ours, theirs = found(name)["sphere"], classic()["sphere"]
    assert median(ours, 0.5) < 1e-6
    assert median(ours, 0.5) < median(theirs, 0.5) / 30
    assert ours[:, -1].max() < 1e-10


@pytest.mark.parametrize("name", ["JADE", "SHADE", "LSHADE"])
def test_a_turned_ellipsoid(name):
    population = 3 * P if name == "LSHADE" else P
    assert median(found(name, population)["ellipsoid"]) < 0.1 * median(classic()["ellipsoid"])


@pytest.mark.parametrize("name", ["JADE", "SHADE", "LSHADE"])
def test_rosenbrocks_valley(name):
    population = 3 * P if name == "LSHADE" else P
    assert median(found(name, population)["rosenbrock"]) < 0.3 * median(classic()["rosenbrock"])


@pytest.mark.parametrize("name", ["jDE", "JADE", "SHADE", "LSHADE"])
def test_the_many_optima_of_rastrigin(name):
    population = 3 * P if name == "LSHADE" else P
    ours = found(name, population)["rastrigin"]
    assert median(ours) < 1e-2 * median(classic()["rastrigin"])
    assert (ours[:, -1] < 1.0).all()  # the next optimum is 1 above the best


@pytest.mark.parametrize("function", [rosenbrock, rastrigin])
def test_shade_is_no_worse_than_scipys_default(function):
    ends = [
        scipy.optimize.differential_evolution(
            lambda x_NS: function(x_NS.T, np),
            [(-5.0, 5.0)] * N,
            popsize=P // N,
            maxiter=EVALUATIONS // P - 1,
            tol=0.0,
            polish=False,
            init="random",
            updating="deferred",
            vectorized=True,
            rng=seed,
        )
        for seed in range(SEEDS)
    ]
    assert all(end.nfev * P == EVALUATIONS for end in ends)  # calls, each of a population
    theirs = float(np.median([end.fun for end in ends]))
    assert median(found("SHADE")[function.__name__]) < 0.5 * theirs
