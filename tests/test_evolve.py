"""One generation: what it keeps, what it never does, and that it is compiled once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.checkpoint import Checkpoints
from jaxalign.engine import build_engine
from jaxalign.evolve import Evolution
from jaxalign.fitness import Evaluation
from jaxalign.search import make_strategy

POPULATION, LENGTH, WIDTH = 8, 2, 3
STRATEGIES = ("DifferentialEvolution", "SNES", "Sep_CMA_ES", "PSO", "SimpleGA", "Open_ES")
SHAPE = (POPULATION, LENGTH, WIDTH)


def sphere(weights, task, population_PLD, key, fails=None):
    """Distance to `task`, scaled by `weights`; what `fails` picks has no finite loss."""
    loss_P = weights * jnp.sum((population_PLD - task[None]) ** 2, axis=(1, 2))
    if fails is not None:
        loss_P = jnp.where(fails(population_PLD), jnp.inf, loss_P)
    return Evaluation(loss_P, population_PLD[:, 0], population_PLD[:, :, :])


def make_evolution(name="DifferentialEvolution", bounds=None, **kwargs):
    strategy = make_strategy(name, POPULATION, LENGTH, WIDTH, 0.3, {})
    return Evolution(strategy, functools.partial(sphere, **kwargs), bounds)


def arguments():
    target_LD = jnp.arange(6.0).reshape(LENGTH, WIDTH) / 6
    return jnp.float32(1.0), target_LD


def start(evolution, seed=0):
    population_PLD = jax.random.normal(jax.random.key(seed + 100), SHAPE)
    return jax.jit(evolution.start)(*arguments(), population_PLD, jax.random.key(seed))


@pytest.mark.parametrize("name", STRATEGIES)
def test_one_trace_nothing_crosses_and_the_best_never_rises(name):
    evolution = make_evolution(name)
    state, first = start(evolution)
    traces = []

    def step(weights, task, state):
        traces.append(1)
        return evolution.step(weights, task, state)

    compiled = jax.jit(step, donate_argnums=2)
    weights, task = arguments()
    best = [float(first.best_loss)]
    for generation in range(1, 30):
        donated = state.best_prompt_LD
        with jax.transfer_guard("disallow"):
            state, metrics = compiled(weights, task, state)
        assert donated.is_deleted()
        assert int(metrics.generation) == generation
        assert int(metrics.evaluations) == POPULATION * (generation + 1)
        best.append(float(metrics.best_loss))
    assert len(traces) == 1 and compiled._cache_size() == 1
    assert (np.diff(best) <= 0).all() and best[-1] < best[0]
    loss = jnp.sum((state.best_prompt_LD - task) ** 2)
    np.testing.assert_allclose(loss, best[-1], rtol=1e-5)


def test_no_array_is_captured():
    evolution = make_evolution()
    state, _ = start(evolution)
    jaxpr = jax.make_jaxpr(evolution.step)(*arguments(), state)
    assert sum(np.size(const) for const in jaxpr.consts) < 10


@pytest.mark.parametrize("name", STRATEGIES)
def test_failed_candidates_never_win(name):
    evolution = make_evolution(name, fails=lambda population: population[:, 0, 0] > 0)
    state, metrics = start(evolution)
    failed = [int(metrics.failed)]
    step = jax.jit(evolution.step)
    for _ in range(15):
        state, metrics = step(*arguments(), state)
        failed.append(int(metrics.failed))
        assert np.isfinite(float(metrics.best_loss))
        assert float(state.best_prompt_LD[0, 0]) <= 0
        assert np.isfinite(np.asarray(state.best_prompt_LD)).all()
    assert sum(failed) > 0


def test_a_population_that_fails_whole_recovers():
    evolution = make_evolution(fails=lambda p: jnp.ones(p.shape[0], bool))
    state, metrics = start(evolution)
    assert int(metrics.failed) == POPULATION
    assert np.isposinf(float(metrics.best_loss)) and np.isposinf(float(metrics.generation_mean))
    state, metrics = jax.jit(make_evolution().step)(*arguments(), state)
    assert np.isfinite(float(metrics.best_loss)) and int(metrics.accepted) == POPULATION


def test_metrics_by_hand():
    evolution = make_evolution()
    state, _ = start(evolution)
    before = state.strategy
    state, metrics = jax.jit(evolution.step)(*arguments(), state)
    changed = (np.asarray(before.population) != np.asarray(state.strategy.population)).any(axis=1)
    assert int(metrics.accepted) == changed.sum() > 0
    improved = np.asarray(state.strategy.fitness) <= np.asarray(before.fitness)
    assert improved.all()
    norm = np.linalg.norm(np.asarray(state.best_prompt_LD), axis=1).mean()
    np.testing.assert_allclose(float(metrics.prompt_norm), norm, rtol=1e-6)
    assert float(metrics.generation_best) <= float(metrics.generation_mean)


def test_bounds_hold_for_every_candidate():
    low_D, high_D = jnp.array([-0.1, -0.2, 0.0]), jnp.array([0.1, 0.3, 0.05])
    evolution = make_evolution(bounds=(low_D, high_D))
    state, _ = start(evolution)
    for _ in range(5):
        state, _ = jax.jit(evolution.step)(*arguments(), state)
        population = np.asarray(state.strategy.population).reshape(SHAPE)
        assert (population >= np.asarray(low_D)).all() and (population <= np.asarray(high_D)).all()


@pytest.mark.parametrize("name", STRATEGIES)
def test_twice_n_equals_n_restore_n(name, tmp_path):
    evolution = make_evolution(name)
    whole, _ = start(evolution)
    # Compiled ahead, a step takes nothing but the very types that it was compiled for.
    step = jax.jit(evolution.step).lower(*arguments(), whole).compile()
    for _ in range(8):
        whole, _ = step(*arguments(), whole)

    part, _ = start(evolution)
    abstract = jax.eval_shape(lambda: part)
    for _ in range(4):
        part, _ = step(*arguments(), part)
    first = Checkpoints(tmp_path / "checkpoints", 1, 0)
    first.save(4, part)
    first.close()
    second = Checkpoints(tmp_path / "checkpoints", 1, 0)
    part = second.restore(abstract)
    second.close()
    for _ in range(4):
        part, _ = step(*arguments(), part)
    for ours, theirs in zip(jax.tree.leaves(part), jax.tree.leaves(whole), strict=True):
        if jnp.issubdtype(ours.dtype, jax.dtypes.prng_key):
            ours, theirs = jax.random.key_data(ours), jax.random.key_data(theirs)
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


def test_engine_equals_a_plain_loop_over_evosax(tiny_config, tiny_problem):
    """The whole step against evosax driven by hand, with losses from the engine's own problem."""
    from evosax.algorithms import DifferentialEvolution

    from jaxalign.engine import make_objective
    from jaxalign.fitness import evaluate
    from jaxalign.problem import first_population

    engine = build_engine(tiny_config, tiny_problem, {"chunk": 3, "spread": 0.02})
    state, _ = engine.compile_start()()
    for _ in range(3):
        state, _ = engine.step(state)

    function = functools.partial(evaluate, tiny_problem.graphdef, make_objective(tiny_config, 3))
    unused = jax.random.key(9)  # the expected readout consumes no key
    losses = jax.jit(lambda p: function(tiny_problem.weights, tiny_problem.task, p, unused).loss_P)
    population_PLD = first_population(tiny_config, tiny_problem)
    theirs = DifferentialEvolution(population_size=6, solution=population_PLD[0])
    params = theirs.default_params.replace(differential_weight=0.5, crossover_rate=0.5)
    root = jax.random.key(tiny_config.seed)
    init_key = jax.random.split(jax.random.fold_in(root, 0))[0]
    expected = theirs.init(init_key, population_PLD, losses(population_PLD), params)
    for generation in range(1, 4):
        ask, _, tell = jax.random.split(jax.random.fold_in(root, generation), 3)
        trial, expected = theirs.ask(ask, expected, params)
        expected, _ = theirs.tell(tell, trial, losses(trial), expected, params)
    np.testing.assert_allclose(state.strategy.population, expected.population, rtol=1e-6)
    np.testing.assert_allclose(state.strategy.fitness, expected.fitness, rtol=1e-5)
    np.testing.assert_allclose(state.best_prompt_LD.ravel(), expected.best_solution, rtol=1e-6)
