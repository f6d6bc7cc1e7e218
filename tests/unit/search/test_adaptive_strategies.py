"""jDE, JADE and SHADE: one generation explained and summed by hand, and what always holds."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import every

from jaxalign.search import make_strategy

NAMES = ["jDE", "JADE", "SHADE", "LSHADE"]
P, N = 6, 3
# Compile time, not run time, is what these tests cost.
OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
jit = functools.partial(jax.jit, compiler_options=OPTIONS)


@functools.cache
def built(name: str):
    """One instance with its jitted steps for all tests: a second would compile again."""
    strategy = make_strategy(name, P, (N,), 1.0, {}, generations=20)
    return strategy, jit(strategy.init), jit(strategy.ask), jit(strategy.tell)


def key(number: int):
    return jax.random.key(number)


def sphere(trials):
    return jnp.sum((trials - 0.3) ** 2, axis=tuple(range(1, trials.ndim)))


def started(name: str, loss_P=None):
    """A state whose F and CR differ by member, after one generation; and its members."""
    strategy, init, ask, tell = built(name)
    members_PN = jax.random.normal(key(3), (P, N))
    loss_P = sphere(members_PN) if loss_P is None else jnp.asarray(loss_P)
    state = init(key(0), strategy.params, members_PN, loss_P)
    trials_PN, state = ask(key(1), strategy.params, state)
    return strategy, ask, tell, tell(key(2), strategy.params, trials_PN, sphere(trials_PN), state)


def masks(trial_N, parent_N, mutant_N):
    """Coordinates that are the mutant's, if all are the mutant's or the parent's; else None."""
    from_mutant_N = np.isclose(trial_N, mutant_N, atol=1e-5)
    explained = (from_mutant_N | (trial_N == parent_N)).all() and from_mutant_N.any()
    return from_mutant_N if explained else None


@pytest.mark.parametrize("elitism", [False, True])
def test_trials_of_jde_are_rand_1_bin_or_best_1_bin(elitism):
    strategy, ask, _, state = started("jDE")
    params = strategy.params.replace(elitism=jnp.asarray(elitism))
    members_PN, best = np.asarray(state.population), int(state.fitness.argmin())
    bases = set()
    for number in range(12):
        trials_PN, asked = ask(key(number), params, state)
        weight_P = np.asarray(asked.trial_weight)
        for i, trial_N in enumerate(np.asarray(trials_PN)):
            found = [
                a
                for a, b, c in itertools.product(range(P), repeat=3)
                if a != b != c != a
                and i not in (b, c)
                and (a == best if elitism else a != i)
                and masks(
                    trial_N,
                    members_PN[i],
                    members_PN[a] + weight_P[i] * (members_PN[b] - members_PN[c]),
                )
                is not None
            ]
            assert found, "no three members explain the trial"
            bases.update(found)
    assert bases == ({best} if elitism else set(range(P)))


def test_jde_draws_one_in_ten_anew():
    strategy, ask, _, state = started("jDE")
    state = state.replace(weight=jnp.full(P, 2.5), rate=jnp.full(P, 0.25))
    asked = [ask(key(number), strategy.params, state)[1] for number in range(400)]
    weight = np.stack([one.trial_weight for one in asked]).ravel()
    rate = np.stack([one.trial_rate for one in asked]).ravel()
    new_weight, new_rate = weight[weight != 2.5], rate[rate != 0.25]
    for new in (new_weight, new_rate):
        assert scipy.stats.binomtest(len(new), len(weight), 0.1).pvalue > 1e-3
    assert scipy.stats.kstest(new_weight, scipy.stats.uniform(0.1, 0.9).cdf).pvalue > 1e-3
    assert scipy.stats.kstest(new_rate, scipy.stats.uniform().cdf).pvalue > 1e-3
    # The two change independently.
    both = ((weight != 2.5) & (rate != 0.25)).mean()
    assert both == pytest.approx(0.01, abs=0.008)


def test_a_surviving_trial_of_jde_brings_its_own_weight_and_rate():
    strategy, ask, tell, state = started("jDE")
    trials_PN, asked = ask(key(8), strategy.params, state.replace(weight=jnp.arange(1.0, P + 1)))
    asked = asked.replace(trial_weight=jnp.full(P, 0.7), trial_rate=jnp.full(P, 0.6))
    loss_P = state.fitness + jnp.array([-1.0, 0, 1, 2, -2, jnp.inf])
    after = tell(key(9), strategy.params, trials_PN, loss_P, asked)
    moved_P = np.array([True, True, False, False, True, False])
    np.testing.assert_allclose(after.weight, np.where(moved_P, 0.7, np.arange(1.0, P + 1)))
    np.testing.assert_allclose(after.rate, np.where(moved_P, 0.6, state.rate))
    assert int(strategy.accepted(asked, after)) == 3


@pytest.mark.parametrize("name", ["JADE", "SHADE"])
def test_trials_are_current_to_pbest_1_bin(name):
    strategy, ask, _, state = started(name)
    members_PN = np.asarray(state.population)
    kept = np.asarray(state.archive.vectors)[np.asarray(state.archive.held)]
    assert 1 <= len(kept) <= P
    partners = [*members_PN, *kept]
    top = np.argsort(state.fitness)[:2]  # of 6 members 5 % and at most 20 % are 2, the least
    second_from_archive = 0
    for number in range(12):
        trials_PN, asked = ask(key(number), strategy.params, state)
        for i, trial_N in enumerate(np.asarray(trials_PN)):
            found = [
                second
                for best, first, second in itertools.product(top, range(P), range(len(partners)))
                if first != i and second not in (i, first)
                for step_N in [members_PN[best] - members_PN[i] + members_PN[first]]
                for mutant_N in [
                    members_PN[i]
                    + float(asked.trial_weight[i]) * (step_N - np.asarray(partners[second]))
                ]
                if masks(trial_N, members_PN[i], mutant_N) is not None
            ]
            assert found, "no members explain the trial"
            second_from_archive += min(found) >= P
    assert second_from_archive > 0


def told(name: str):
    """A generation with fixed F and CR, of which 0, 1 and 3 succeed, 2 ties, 4 beats a failure."""
    strategy, ask, tell, state = started(name)
    state = state.replace(fitness=jnp.array([5.0, 4, 3, 2, jnp.inf, 1]))
    trials_PN, asked = ask(key(4), strategy.params, state)
    weight_P = jnp.array([0.2, 0.4, 0.9, 1.0, 0.1, 0.5])
    rate_P = jnp.array([0.1, 0.5, 0.9, 0.6, 0.3, 0.2])
    asked = asked.replace(trial_weight=weight_P, trial_rate=rate_P)
    loss_P = jnp.array([4.0, 1, 3, 1.5, 8, jnp.inf])
    return strategy, trials_PN, asked, tell(key(5), strategy.params, trials_PN, loss_P, asked), tell


def test_jade_moves_its_means_by_hand():
    strategy, trials_PN, before, after, tell = told("JADE")
    weight, rate = np.array([0.2, 0.4, 1.0]), np.array([0.1, 0.5, 0.6])
    assert float(after.mean_rate) == pytest.approx(
        0.9 * float(before.mean_rate) + 0.1 * rate.mean()
    )
    assert float(after.mean_weight) == pytest.approx(
        0.9 * float(before.mean_weight) + 0.1 * (weight**2).sum() / weight.sum()
    )
    # A tie keeps the parent; whatever is finite beats a failure.
    np.testing.assert_array_equal(after.fitness, [4.0, 1, 3, 1.5, 8, 1])
    moved_P = np.array([True, True, False, True, True, False])[:, None]
    np.testing.assert_array_equal(after.population, np.where(moved_P, trials_PN, before.population))
    assert int(strategy.accepted(before, after)) == 4
    same = tell(key(6), strategy.params, trials_PN, jnp.full(P, 99.0), after)
    assert float(same.mean_rate) == float(after.mean_rate)
    assert float(same.mean_weight) == float(after.mean_weight)


def test_shade_writes_its_history_by_hand():
    strategy, trials_PN, before, after, tell = told("SHADE")
    slot = int(before.slot)
    fall, weight, rate = np.array([1, 3, 0.5]), np.array([0.2, 0.4, 1.0]), np.array([0.1, 0.5, 0.6])
    share = fall / fall.sum()
    expected_weight, expected_rate = np.array(before.memory_weight), np.array(before.memory_rate)
    expected_weight[slot] = (share * weight**2).sum() / (share * weight).sum()
    expected_rate[slot] = (share * rate).sum()
    np.testing.assert_allclose(after.memory_weight, expected_weight, rtol=1e-6)
    np.testing.assert_allclose(after.memory_rate, expected_rate, rtol=1e-6)
    assert int(after.slot) == (slot + 1) % P
    # A tie moves, but teaches nothing.
    np.testing.assert_array_equal(after.fitness, [4.0, 1, 3, 1.5, 8, 1])
    moved_P = np.array([True, True, True, True, True, False])[:, None]
    np.testing.assert_array_equal(after.population, np.where(moved_P, trials_PN, before.population))
    same = tell(key(6), strategy.params, trials_PN, jnp.full(P, 99.0), after)
    np.testing.assert_array_equal(same.memory_weight, after.memory_weight)
    np.testing.assert_array_equal(same.memory_rate, after.memory_rate)
    assert int(same.slot) == int(after.slot)


def test_the_history_of_shade_goes_round_and_is_read():
    strategy, ask, tell, state = started("SHADE")
    for number in range(P + 2):
        trials_PN, state = ask(key(number), strategy.params, state)
        state = tell(key(number), strategy.params, trials_PN, state.fitness - 1.0, state)
    assert (np.asarray(state.memory_rate) != 0.5).all()
    # F and CR are drawn around the same entry: far apart, they tell which.
    far = state.replace(
        memory_rate=jnp.array([0.1, 0.9] * 3), memory_weight=jnp.array([0.9, 0.1] * 3)
    )
    asked = [ask(key(number), strategy.params, far)[1] for number in range(60)]
    rate = np.stack([one.trial_rate for one in asked]).ravel()
    weight = np.stack([one.trial_weight for one in asked]).ravel()
    assert np.median(weight[rate < 0.5]) > 0.75
    assert np.median(weight[rate > 0.5]) < 0.25
    assert (rate < 0.5).mean() == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("name", ["JADE", "SHADE", "LSHADE"])
def test_parents_that_lost_enter_the_archive_but_failures_do_not(name):
    strategy, _, before, after, _ = told(name)
    kept = np.asarray(after.archive.vectors)[np.asarray(after.archive.held)]
    held = np.asarray(before.archive.vectors)[np.asarray(before.archive.held)]
    losers = np.asarray(before.population)[[0, 1, 3]]
    new = [row for row in kept if not (row == held).all(-1).any()]
    assert all((row == losers).all(-1).any() for row in new)
    assert len(kept) == min(len(held) + 3, round(strategy.algorithm.archive_rate * P))
    if name == "LSHADE":  # large enough for all
        assert len(new) == 3


@pytest.mark.parametrize("name", every(NAMES, "JADE"))
def test_a_population_that_failed_whole_recovers(name):
    strategy, init, ask, tell = built(name)
    members_PN = jax.random.normal(key(0), (P, N))
    state = init(key(0), strategy.params, members_PN, jnp.full(P, jnp.inf))
    for losses in (jnp.full(P, jnp.inf), jnp.arange(1.0, P + 1)):
        trials_PN, state = ask(key(1), strategy.params, state)
        assert np.isfinite(trials_PN).all()
        state = tell(key(2), strategy.params, trials_PN, losses, state)
    np.testing.assert_array_equal(state.fitness, np.arange(1.0, P + 1))
    assert float(state.best_fitness) == 1.0
    if name != "jDE":
        assert not state.archive.held.any()


failures = st.lists(st.lists(st.integers(0, P - 1), max_size=P), min_size=4, max_size=4)


@pytest.mark.parametrize("name", every(NAMES, "SHADE"))
@settings(deadline=None, max_examples=15)
@given(failed=failures, seed=st.integers(0, 999), scale=st.sampled_from([1e-30, 1.0, 1e30]))
def test_what_always_holds(name, failed, seed, scale):
    strategy, init, ask, tell = built(name)
    members_PN = jax.random.normal(key(seed), (P, N))
    state, best = None, np.inf
    for generation, rows in enumerate(failed):
        trials_PN = members_PN
        if state is not None:
            trials_PN, state = ask(key(seed + generation), strategy.params, state)
        assert np.isfinite(trials_PN).all()
        loss_P = (scale * sphere(trials_PN)).at[jnp.array(rows, int)].set(jnp.inf)
        if state is None:
            state = init(key(seed), strategy.params, trials_PN, loss_P)
        else:
            state = tell(key(seed), strategy.params, trials_PN, loss_P, state)
        for leaf in jax.tree.leaves(state):
            assert not np.isnan(leaf).any()
        active = int(strategy.active(state))
        assert float(state.best_fitness) <= best
        best = float(state.best_fitness)
        assert float(state.fitness[:active].min()) == best
        if np.isfinite(best):
            # Not always a member: one of the same loss may have taken its place.
            np.testing.assert_allclose(scale * sphere(state.best_solution[None])[0], best, 1e-4)
        if hasattr(state, "archive"):
            rate = strategy.algorithm.archive_rate
            assert int(state.archive.held.sum()) <= round(rate * active)
        for memory in ("mean_weight", "mean_rate", "memory_weight", "memory_rate"):
            values = np.asarray(getattr(state, memory, 0.5))
            assert values.min() >= 0.0
            assert values.max() <= 1.0


def searched(strategy, generations: int, members, seed_key):
    """The state after so many generations in which all on one side fail; to be vmapped."""

    def loss(trials):
        return jnp.where(trials.reshape(len(trials), -1)[:, 0] < 1.0, sphere(trials), jnp.inf)

    def step(state, step_key):
        ask_key, tell_key = jax.random.split(step_key)
        trials, asked = strategy.ask(ask_key, strategy.params, state)
        told = strategy.tell(tell_key, strategy.params, trials, loss(trials), asked)
        return jax.tree.map(lambda new, old: new.astype(old.dtype), told, state), trials

    state = strategy.init(seed_key, strategy.params, members, loss(members))
    state = jax.tree.map(jnp.asarray, state)
    return jax.lax.scan(step, state, jax.random.split(seed_key, generations))


SEARCHES = 400


@functools.cache
def mapped(name: str):
    """Many searches at once, from the same members in rising order of loss and in falling."""
    members_PN = jax.random.normal(key(0), (P, N))
    rising_PN = members_PN[jnp.argsort(sphere(members_PN))]
    run = jit(jax.vmap(functools.partial(searched, built(name)[0], 5), in_axes=(None, 0)))
    keys = jax.random.split(key(1), 2 * SEARCHES)
    rising, falling = run(rising_PN, keys[:SEARCHES])[0], run(rising_PN[::-1], keys[SEARCHES:])[0]
    return rising_PN, keys, rising, falling


@pytest.mark.parametrize("name", every(NAMES, "LSHADE"))
def test_the_order_of_the_population_does_not_matter(name):
    members_PN, _, rising, falling = mapped(name)
    assert scipy.stats.ks_2samp(rising.best_fitness, falling.best_fitness).pvalue > 1e-3
    assert np.median(rising.best_fitness) < 0.5 * float(sphere(members_PN).min())


@pytest.mark.parametrize("name", every([*NAMES, "DifferentialEvolution"], "LSHADE"))
def test_vmapped_over_searches_equals_looped(name):
    members_PN, keys, together, _ = mapped(name)
    alone = jit(functools.partial(searched, built(name)[0], 5))
    for g in (0, 1, SEARCHES - 1):
        looped = alone(members_PN, keys[g])[0]
        for one, other in zip(jax.tree.leaves(together), jax.tree.leaves(looped), strict=True):
            np.testing.assert_allclose(one[g], other, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", every(NAMES, "LSHADE"))
@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_the_smallest_population_and_one_coordinate(name, shape):
    strategy = make_strategy(name, 4, shape, 1.0, {}, 12)
    members = jnp.array([-2.0, 0.9, 3.0, -1.0]).reshape(4, *shape)
    state, trials = jit(functools.partial(searched, strategy, 12))(members, key(0))
    assert trials.shape == (12, 4, *shape)
    assert np.isfinite(trials).all()
    assert float(state.best_fitness) < 0.36  # that of the best at the start
    assert strategy.members(state).shape == (4, *shape)
