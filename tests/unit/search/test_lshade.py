"""L-SHADE: its schedule, who leaves, which rows count, and the history's terminal value."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import every

from jaxalign.search import make_strategy
from jaxalign.search.lshade import lshade_evaluations, lshade_sizes

P, N, GENERATIONS = 9, 4, 12
# Compile time, not run time, is what these tests cost.
OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
jit = functools.partial(jax.jit, compiler_options=OPTIONS)


@functools.cache
def built():
    strategy = make_strategy("LSHADE", P, (2, 2), 1.0, {}, GENERATIONS)
    return strategy, jit(strategy.init), jit(strategy.ask), jit(strategy.tell)


def key(number: int):
    return jax.random.key(number)


def sphere(trials):
    return jnp.sum((trials - 0.3) ** 2, axis=(1, 2))


def started():
    strategy, init, ask, tell = built()
    members = jax.random.normal(key(3), (P, 2, 2))
    return strategy, ask, tell, init(key(0), strategy.params, members, sphere(members))


def shrunk(state, size: int):
    """The state with only so many members."""
    rows = jnp.arange(P) < size
    return state.replace(size=jnp.int32(size), fitness=jnp.where(rows, state.fitness, jnp.inf))


@settings(deadline=None)
@given(population=st.integers(4, 300), evaluations=st.integers(1, 20_000))
def test_sizes_are_the_papers_formula(population, evaluations):
    sizes = [*lshade_sizes(population, evaluations)]
    spent = np.cumsum(sizes)
    # Linear from N_init to 4 in the evaluations spent before; nothing shrinks in the first two.
    for size, before in zip(sizes[2:], spent[1:], strict=False):
        exact = population + (4 - population) * before / evaluations
        assert abs(size - max(exact, 4)) <= 0.5 + 1e-9
    assert sizes[:2] == [population] * len(sizes[:2])
    assert sizes == sorted(sizes, reverse=True)
    # All evaluations are spent, and within the last generation.
    assert spent[-1] >= evaluations
    assert spent[-1] - sizes[-1] < evaluations


@settings(deadline=None)
@given(population=st.integers(4, 300), generations=st.integers(0, 400))
def test_evaluations_are_the_most_for_so_many_generations(population, generations):
    evaluations = lshade_evaluations(population, generations)
    sizes = [*lshade_sizes(population, evaluations)]
    assert len(sizes) == generations + 1
    assert sum(sizes) == evaluations
    assert len([*lshade_sizes(population, evaluations + 1)]) == generations + 2


@pytest.mark.parametrize(
    "evaluations", every([None, 40, 61, 500, 2**31 - 1 - P**2], 61, 2**31 - 1 - P**2)
)
def test_a_run_has_the_schedules_sizes(evaluations):
    strategy, ask, tell, state = started()
    params = strategy.params
    if evaluations is not None:
        params = params.replace(max_evaluations=jnp.int32(evaluations))
        state = built()[1](key(0), params, strategy.members(state), state.fitness)
    sizes = [*lshade_sizes(P, min(int(params.max_evaluations), 10_000))]
    for number, expected in enumerate(sizes[1:30]):
        trials, state = ask(key(number), params, state)
        assert int(strategy.active(state)) == expected
        state = tell(key(number), params, trials, sphere(trials), state)
        assert int(state.evaluations) == sum(sizes[: number + 2])
    if evaluations is None:
        assert len(sizes) == GENERATIONS + 1
        assert int(state.evaluations) == int(params.max_evaluations)
        assert int(state.size) == 4
        # And then it stays.
        trials, state = ask(key(0), params, state)
        assert int(tell(key(0), params, trials, sphere(trials), state).size) == 4


@pytest.mark.parametrize("seed", every(range(6), 0))
def test_the_best_stay_and_candidates_beyond_do_not_count(seed):
    strategy, ask, tell, state = started()
    state = shrunk(state, 7)
    # The next generation has 5: two leave at once.
    params = strategy.params.replace(max_evaluations=jnp.int32(100))
    state = state.replace(gone=jnp.int32(4), carry=jnp.int32(0))
    trials, asked = ask(key(seed), params, state)
    np.testing.assert_array_equal(trials[7:], strategy.members(state)[7:])
    loss_P = state.fitness + jax.random.normal(key(seed), (P,))
    loss_P = loss_P.at[7:].set(-1e9).at[seed].set(jnp.inf)
    after = tell(key(9), params, trials, loss_P, asked)
    assert int(after.size) == 5
    moved_P = np.asarray(loss_P <= state.fitness)[:7]
    expected = np.where(moved_P, loss_P[:7], state.fitness[:7])
    np.testing.assert_array_equal(np.sort(after.fitness[:5]), np.sort(expected)[:5])
    assert np.isinf(after.fitness[5:]).all()
    both = np.where(moved_P[:, None], trials[:7].reshape(7, N), state.population[:7])
    for row, loss in zip(after.population[:5], after.fitness[:5], strict=True):
        np.testing.assert_array_equal(row, both[list(expected).index(float(loss))])
    # Rows that only closed up are not counted, and a candidate beyond is never the best.
    assert int(strategy.accepted(asked, after)) == moved_P.sum()
    assert float(after.best_fitness) == min(float(state.best_fitness), expected.min())


def test_partners_are_members_only():
    strategy, ask, _, state = started()
    # Rows beyond would be seen at once in any trial.
    state = shrunk(state, 4).replace(population=state.population.at[4:].set(1e6))
    for number in range(30):
        trials, _ = ask(key(number), strategy.params, state)
        assert np.abs(trials[:4]).max() < 1e3


def test_the_archive_shrinks_with_the_population():
    strategy, ask, tell, state = started()
    most = round(2.6 * P)
    for number in range(40):
        trials, asked = ask(key(number), strategy.params, state)
        # All succeed, so that the archive is as full as it may be.
        state = tell(key(number), strategy.params, trials, asked.fitness - 1.0, asked)
        most = min(most, round(2.6 * int(state.size)))
        assert int(state.archive.held.sum()) <= most
    assert int(state.archive.held.sum()) == round(2.6 * 4)


def test_the_history_by_hand_and_its_terminal_value():
    strategy, ask, tell, state = started()
    state = shrunk(state, 6).replace(fitness=jnp.array([5.0, 4, 3, 2, jnp.inf, 1] + [jnp.inf] * 3))
    trials, asked = ask(key(4), strategy.params, state)
    weight_P = jnp.array([0.2, 0.4, 0.9, 1.0, 0.1, 0.5, 0.3, 0.3, 0.3])
    rate_P = jnp.array([0.1, 0.5, 0.9, 0.6, 0.3, 0.2, 0.8, 0.8, 0.8])
    asked = asked.replace(trial_weight=weight_P, trial_rate=rate_P)
    # 0, 1 and 3 succeed, 2 ties, 4 beats a failure, 6 to 8 do not count.
    loss_P = jnp.array([4.0, 1, 3, 1.5, 8, jnp.inf, -9, -9, -9])
    after = tell(key(5), strategy.params, trials, loss_P, asked)
    fall, weight, rate = np.array([1, 3, 0.5]), np.array([0.2, 0.4, 1.0]), np.array([0.1, 0.5, 0.6])
    lehmer = [(fall * v**2).sum() / (fall * v).sum() for v in (weight, rate)]
    np.testing.assert_allclose(after.memory_weight, [lehmer[0]] + [0.5] * 5, rtol=1e-6)
    np.testing.assert_allclose(after.memory_rate, [lehmer[1]] + [0.5] * 5, rtol=1e-6)
    assert int(after.slot) == 1
    assert not after.closed.any()

    # Where every CR that worked was 0, the entry is closed: CR 0 for good, F still learns.
    again = asked.replace(trial_rate=jnp.where(jnp.arange(P) < 6, 0.0, rate_P), slot=jnp.int32(2))
    closed = tell(key(5), strategy.params, trials, loss_P, again)
    assert closed.closed.tolist() == [False, False, True, False, False, False]
    assert float(closed.memory_weight[2]) == pytest.approx(lehmer[0])
    back = tell(
        key(5),
        strategy.params,
        trials,
        loss_P,
        asked.replace(slot=jnp.int32(2), closed=closed.closed),
    )
    assert back.closed.tolist() == closed.closed.tolist()
    assert float(back.memory_rate[2]) == 0.0
    shut = state.replace(closed=jnp.ones(6, bool))
    assert (ask(key(0), strategy.params, shut)[1].trial_rate == 0.0).all()


def test_nothing_is_learned_without_success():
    strategy, ask, tell, state = started()
    trials, asked = ask(key(4), strategy.params, state)
    after = tell(key(5), strategy.params, trials, asked.fitness + 1.0, asked)
    for field in ("memory_weight", "memory_rate", "closed", "slot"):
        np.testing.assert_array_equal(getattr(after, field), getattr(asked, field))
    assert not after.archive.held.any()


def test_it_compiles_once():
    strategy, _, _, state = started()
    traces = []

    @jax.jit
    def generation(state, step_key):
        traces.append("step")
        trials, asked = strategy.ask(step_key, strategy.params, state)
        told = strategy.tell(step_key, strategy.params, trials, sphere(trials), asked)
        return jax.tree.map(lambda leaf: leaf.astype(leaf.dtype), told)

    for number in range(GENERATIONS):
        state = generation(state, key(number))
    assert int(state.size) == 4
    assert traces == ["step"]
