"""One generation: what it keeps, what it never does, and that it is compiled once."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiers import every, first

from jaxalign.config import freeze
from jaxalign.evolve import Evolution
from jaxalign.objective import Evaluation
from jaxalign.run.checkpoint import Checkpoints
from jaxalign.run.engine import build_engine
from jaxalign.search import Space, full_space, make_strategy, with_limits

POPULATION, LENGTH, WIDTH = 8, 2, 3
STRATEGIES = (
    "DifferentialEvolution",
    "jDE",
    "JADE",
    "SHADE",
    "LSHADE",
    "SNES",
    "Sep_CMA_ES",
    "PSO",
    "SimpleGA",
    "Open_ES",
)
SHAPE = (POPULATION, LENGTH, WIDTH)


class Goal(NamedTuple):
    """In place of a task: a point for each country."""

    target_GC: jax.Array
    choosing: None = None

    def at(self, generation):
        return self


def sphere(weights, task, prompts_ELD, *, key, count, fails=None):
    """Distance to the goals, scaled by `weights`; what `fails` picks has no finite loss."""
    flat_EN = prompts_ELD.reshape(prompts_ELD.shape[0], -1)
    loss_GE = weights * jnp.sum((flat_EN[None] - task.target_GC[:, None]) ** 2, axis=-1)
    lost_E = jnp.arange(flat_EN.shape[0]) >= count
    if fails is not None:
        lost_E |= fails(prompts_ELD)
    loss_GE = jnp.where(lost_E[None], jnp.inf, loss_GE)
    norm_E = jnp.linalg.norm(flat_EN, axis=-1)
    terms_GEO = jnp.stack([loss_GE, jnp.broadcast_to(norm_E, loss_GE.shape)], axis=-1)
    return Evaluation(loss_GE, flat_EN, prompts_ELD, terms_GEO)


def make_evolution(name="DifferentialEvolution", **kwargs):
    strategy = make_strategy(name, POPULATION, (LENGTH, WIDTH), 0.3, {}, 30)
    fails = {"fails": kwargs.pop("fails")} if "fails" in kwargs else {}
    return Evolution(strategy, functools.partial(sphere, **fails), **kwargs)


def arguments(countries=1, space=None):
    goals_GC = jnp.arange(6.0)[None] / 6 + jnp.arange(countries)[:, None]
    return jnp.float32(1.0), Goal(goals_GC), space or full_space(LENGTH, WIDTH)


def start(evolution, seed=0, countries=1, space=None):
    vectors_E = jax.random.normal(jax.random.key(seed + 100), (countries * POPULATION, *SHAPE[1:]))
    params = evolution.strategy.params
    given = arguments(countries, space)
    return jax.jit(evolution.start)(*given, params, vectors_E, jax.random.key(seed))


@pytest.mark.parametrize("name", every(STRATEGIES, "LSHADE", "SNES"))
def test_one_trace_no_transfers_and_the_best_loss_never_rises(name):
    evolution = make_evolution(name)
    state, first = start(evolution)
    traces = []

    def step(weights, task, space, state):
        traces.append(1)
        return evolution.step(weights, task, space, state)

    compiled = jax.jit(step, donate_argnums=3)
    given = arguments()
    best = [float(first.best_loss_G[0])]
    for generation in range(1, 30):
        donated = state.best_prompt_GLD
        with jax.transfer_guard("disallow"):
            state, metrics = compiled(*given, state)
        assert donated.is_deleted()
        assert int(metrics.generation) == generation
        full = POPULATION * (generation + 1)
        evaluations = int(metrics.evaluations)
        assert evaluations < full if name == "LSHADE" and generation > 10 else evaluations <= full
        best.append(float(metrics.best_loss_G[0]))
    assert len(traces) == 1 and compiled._cache_size() == 1
    assert (np.diff(best) <= 0).all() and best[-1] < best[0]
    loss = np.sum((np.ravel(state.best_prompt_GLD) - np.ravel(given[1].target_GC)) ** 2)
    np.testing.assert_allclose(loss, best[-1], rtol=1e-5)


def test_no_array_is_captured():
    evolution = make_evolution()
    state, _ = start(evolution)
    jaxpr = jax.make_jaxpr(evolution.step)(*arguments(), state)
    assert sum(np.size(const) for const in jaxpr.consts) < 10


@pytest.mark.parametrize("name", every(STRATEGIES, "LSHADE", "SNES"))
def test_failed_candidates_never_win(name):
    evolution = make_evolution(name, fails=lambda population: population[:, 0, 0] > 0)
    state, metrics = start(evolution)
    failed = [int(metrics.failed)]
    step = jax.jit(evolution.step)
    for _ in range(15):
        state, metrics = step(*arguments(), state)
        failed.append(int(metrics.failed))
        assert np.isfinite(float(metrics.best_loss_G[0]))
        assert float(state.best_prompt_GLD[0, 0, 0]) <= 0
        assert np.isfinite(np.asarray(state.best_prompt_GLD[0])).all()
    assert sum(failed) > 0


def test_the_search_recovers_when_every_candidate_fails():
    evolution = make_evolution(fails=lambda p: jnp.ones(p.shape[0], bool))
    state, metrics = start(evolution)
    assert int(metrics.failed) == POPULATION
    assert np.isposinf(float(metrics.best_loss_G[0])) and np.isposinf(
        float(metrics.generation_mean_G[0])
    )
    state, metrics = jax.jit(make_evolution().step)(*arguments(), state)
    assert np.isfinite(float(metrics.best_loss_G[0])) and int(metrics.accepted_G[0]) == POPULATION


def test_metrics_by_hand():
    evolution = make_evolution()
    state, _ = start(evolution)
    before = state.strategy
    state, metrics = jax.jit(evolution.step)(*arguments(), state)
    changed = (np.asarray(before.population) != np.asarray(state.strategy.population)).any(axis=2)
    assert int(metrics.accepted_G[0]) == changed.sum() > 0
    improved = np.asarray(state.strategy.fitness) <= np.asarray(before.fitness)
    assert improved.all()
    norm = np.linalg.norm(np.asarray(state.best_prompt_GLD[0]), axis=1).mean()
    np.testing.assert_allclose(float(metrics.prompt_norm_G[0]), norm, rtol=1e-6)
    assert float(metrics.generation_best_G[0]) <= float(metrics.generation_mean_G[0])


def test_bounds_hold_for_every_candidate():
    low_D, high_D = np.array([-0.1, -0.2, 0.0]), np.array([0.1, 0.3, 0.05])
    table_VD = jnp.array([low_D, high_D], jnp.float32)
    space = with_limits(full_space(LENGTH, WIDTH), "vocabulary", 0.0, table_VD)
    evolution = make_evolution()
    state, _ = start(evolution, space=space)
    step = jax.jit(evolution.step)
    for _ in range(5):
        state, _ = step(*arguments(space=space), state)
        population = np.asarray(state.strategy.population).reshape(SHAPE)
        assert (population >= low_D - 1e-7).all() and (population <= high_D + 1e-7).all()


def test_a_subspace_is_searched_and_its_best_is_a_prompt():
    """Any strategy searches any space: here a line through the goal."""
    goal_LD = jnp.arange(6.0).reshape(LENGTH, WIDTH) / 6
    space = Space("subspace", (1,), jnp.zeros((LENGTH, WIDTH)), goal_LD[None])
    for name in first(1, ("SNES", "DifferentialEvolution", "SHADE")):
        strategy = make_strategy(name, POPULATION, space.shape, 0.3, {}, 30)
        evolution = Evolution(strategy, sphere)
        vectors_E = jax.random.normal(jax.random.key(1), (POPULATION, 1))
        given = arguments(space=space)
        state, _ = jax.jit(evolution.start)(*given, strategy.params, vectors_E, jax.random.key(0))
        step = jax.jit(evolution.step)
        for _ in range(30):
            state, _ = step(*given, state)
        np.testing.assert_allclose(state.best_prompt_GLD[0], goal_LD, atol=0.02)


def run_countries(countries, generations=12, **kwargs):
    evolution = make_evolution("SHADE", **kwargs)
    state, _ = start(evolution, countries=countries)
    step = jax.jit(evolution.step)
    for _ in range(generations):
        state, metrics = step(*arguments(countries), state)
    return state, metrics


def test_countries_share_every_evaluation():
    state, metrics = run_countries(3, generations=4)
    assert int(metrics.evaluations) == 3 * POPULATION * 5
    goals = np.asarray(arguments(3)[1].target_GC)
    for place in range(3):
        loss = np.sum((np.ravel(state.best_prompt_GLD[place]) - goals[place]) ** 2)
        np.testing.assert_allclose(metrics.best_loss_G[place], loss, rtol=1e-5)
    # Country g's loss is taken from all candidates, so none of its members is better than its best.
    assert (state.strategy.fitness.min(axis=1) >= metrics.best_loss_G).all()


def test_each_country_starts_from_the_best_of_all_first_candidates():
    evolution = make_evolution("SHADE")
    state, _ = start(evolution, countries=3)
    vectors_E = np.asarray(jax.random.normal(jax.random.key(100), (3 * POPULATION, *SHAPE[1:])))
    goals = np.asarray(arguments(3)[1].target_GC)
    for place in range(3):
        loss = np.sum((np.reshape(vectors_E, (3 * POPULATION, -1)) - goals[place]) ** 2, axis=1)
        np.testing.assert_allclose(
            np.sort(state.strategy.fitness[place]), np.sort(loss)[:POPULATION], rtol=1e-5
        )


def test_migrants_enter_only_where_they_are_better():
    alone, _ = run_countries(2, generations=1)
    together, _ = run_countries(2, generations=1, migrants=4)
    before, after = np.asarray(alone.strategy.fitness), np.asarray(together.strategy.fitness)
    assert (np.sort(after) <= np.sort(before)).all() and (after < before).any()
    goals = np.asarray(arguments(2)[1].target_GC)
    members = np.asarray(together.strategy.population)
    losses = np.sum((members - goals[:, None]) ** 2, axis=-1)
    np.testing.assert_allclose(after, losses, rtol=1e-4)  # each vector has its own loss


def noisy(weights, task, prompts_ELD, *, key, count):
    result = sphere(weights, task, prompts_ELD, key=key, count=count)
    noise_GE = jax.random.normal(key, result.loss_GP.shape)
    return result.replace(loss_GP=result.loss_GP + weights * noise_GE)


@pytest.mark.parametrize("name", every(["DifferentialEvolution", "SHADE"], "SHADE"))
def test_lucky_parents_are_reevaluated(name):
    """Under pure noise a kept loss is the luckiest of all; evaluated anew it is an ordinary one."""
    strategy = make_strategy(name, POPULATION, (LENGTH, WIDTH), 0.3, {}, 30)
    kept = {}
    for period in (0, 5):
        evolution = Evolution(strategy, noisy, reevaluate=period)
        begin, step = jax.jit(evolution.start), jax.jit(evolution.step)
        losses, best = [], []
        for seed in range(8):
            given = (jnp.float32(1e3), Goal(jnp.zeros((1, 6))), full_space(LENGTH, WIDTH))
            vectors_E = 1e-3 * jax.random.normal(jax.random.key(seed), SHAPE)
            key = jax.random.key(seed)
            state, _ = begin(*given, strategy.params, vectors_E, key)
            before = state
            for _ in range(20):
                before = state
                state, metrics = step(*given, state)
            losses.append(np.mean(state.strategy.fitness))
            best.append(float(metrics.best_loss_G[0]))
        kept[period] = np.mean(losses), np.mean(best)
    # Generation 20 evaluates the members anew: they are unchanged, and accepted counts none.
    assert int(metrics.accepted_G[0]) == 0
    np.testing.assert_array_equal(state.strategy.population, before.strategy.population)
    assert kept[0][0] < -1000.0 < -200.0 < kept[5][0]  # in standard deviations of 1000
    assert kept[0][1] < kept[5][1]


def test_reevaluated_members_do_not_migrate():
    """They were offered as candidates: a vector would stand in a population twice."""
    state, _ = run_countries(3, generations=4, migrants=4, reevaluate=5)
    evolution = make_evolution("SHADE", migrants=4, reevaluate=5)
    after, _ = jax.jit(evolution.step)(*arguments(3), state)
    np.testing.assert_array_equal(after.strategy.population, state.strategy.population)


def test_a_candidate_that_fails_for_one_country_has_failed():
    def second_country_fails(*given, **named):
        result = sphere(*given, **named)
        return result.replace(loss_GP=result.loss_GP.at[1, :3].set(jnp.inf))

    evolution = dataclasses.replace(make_evolution(), evaluate=second_country_fails)
    _, metrics = start(evolution, countries=2)
    assert int(metrics.failed) == 3


def test_the_pareto_front_holds_all_undominated_candidates():
    seen = []

    def watched(*given, **named):
        result = sphere(*given, **named)
        jax.debug.callback(lambda terms_PO: seen.append(np.array(terms_PO)), result.terms_GPO[0])
        return result

    evolution = make_evolution("SHADE", front_size=64, objectives=(0, 1))
    evolution = dataclasses.replace(evolution, evaluate=watched)
    state, _ = start(evolution)
    step = jax.jit(evolution.step)
    for _ in range(6):
        state, _ = step(*arguments(), state)
    jax.effects_barrier()
    seen = np.concatenate(seen)
    assert len(seen) == 7 * POPULATION
    no_worse = (seen[None] <= seen[:, None]).all(-1) & (seen[None] < seen[:, None]).any(-1)
    front = np.asarray(state.front.terms_KO[0])
    members = np.isfinite(front[:, 0])
    expected = np.unique(seen[~no_worse.any(axis=1)], axis=0)
    assert len(expected) > 1
    np.testing.assert_array_equal(np.unique(front[members], axis=0), expected)
    prompts = state.front.prompts_KLD[0][members]
    told = sphere(*arguments()[:2], prompts, key=None, count=len(prompts)).terms_GPO[0]
    np.testing.assert_allclose(told, front[members], rtol=1e-5)


@pytest.mark.parametrize("name", every(STRATEGIES, "LSHADE", "SNES"))
def test_2n_generations_equal_n_restore_n(name, tmp_path):
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

    from jaxalign.fitness import Execution
    from jaxalign.run.initialization import first_prompts, initialize, with_spread

    settings, execution = freeze(tiny_config), Execution(chunk=3)
    plan = with_spread(initialize(settings, tiny_problem), settings, 0.02)
    engine = build_engine(tiny_problem, plan, execution)
    state, _ = engine.start()
    for _ in range(3):
        state, _ = engine.step(state)

    evaluator = tiny_problem.evaluator(execution)
    unused = jax.random.key(9)  # the expected readout consumes no key
    losses = jax.jit(
        lambda p: evaluator(tiny_problem.weights, tiny_problem.task, p, key=unused).loss_GP[0]
    )
    population_PLD = first_prompts(freeze(tiny_config), tiny_problem)
    theirs = DifferentialEvolution(population_size=6, solution=population_PLD[0])
    params = theirs.default_params.replace(differential_weight=0.5, crossover_rate=0.5)
    root = jax.random.key(tiny_config.seed)
    own = functools.partial(jax.random.fold_in, data=0)  # of the first country
    init_key = jax.random.split(jax.random.fold_in(root, 0))[0]
    expected = theirs.init(own(init_key), population_PLD, losses(population_PLD), params)
    for generation in range(1, 4):
        ask, _, tell = jax.random.split(jax.random.fold_in(root, generation), 3)
        trial, expected = theirs.ask(own(ask), expected, params)
        expected, _ = theirs.tell(own(tell), trial, losses(trial), expected, params)
    np.testing.assert_allclose(state.strategy.population[0], expected.population, rtol=1e-6)
    np.testing.assert_allclose(state.strategy.fitness[0], expected.fitness, rtol=1e-5)
    np.testing.assert_allclose(state.best_prompt_GLD.ravel(), expected.best_solution, rtol=1e-6)
