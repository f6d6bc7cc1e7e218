"""Differential evolution against its definition: best/1/bin, and one-to-one selection."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiers import every

from jaxalign.search import make_strategy

P, L, D = 6, 1, 4
WEIGHT = 0.5


@functools.cache
def built(population: int, length: int, width: int):
    """One instance for all tests of a size: a second would compile again."""
    return make_strategy("DifferentialEvolution", population, (length, width), 1.0, {})


def started(seed: int, loss_P=None, rate: float = 0.5):
    """A strategy, its state, and its members [P, L·D]; member 2 is the best if no loss is given."""
    params = make_strategy("DifferentialEvolution", P, (L, D), 1.0, {"crossover_rate": rate}).params
    strategy = dataclasses.replace(built(P, L, D), params=params)
    members_PLD = jax.random.normal(jax.random.key(seed), (P, L, D))
    loss_P = jnp.array([5.0, 4, 1, 3, 2, 6]) if loss_P is None else jnp.asarray(loss_P)
    state = strategy.init(jax.random.key(0), strategy.params, members_PLD, loss_P)
    return strategy, state, np.asarray(members_PLD).reshape(P, L * D)


def explanations(trial_N, parent, best, members_PN) -> list[np.ndarray]:
    """For each pair (b, c) that explains the trial: coordinates that are best + F (b − c)."""
    found = []
    others = [i for i in range(P) if i not in (parent, best)]
    for b, c in itertools.permutations(others, 2):
        mutant_N = members_PN[best] + WEIGHT * (members_PN[b] - members_PN[c])
        from_mutant_N = np.isclose(trial_N, mutant_N, atol=1e-6)
        if (from_mutant_N | (trial_N == members_PN[parent])).all():
            found.append(from_mutant_N & (trial_N != members_PN[parent]))
    return found


@pytest.mark.parametrize("seed", every(range(3), 0))
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_trials_are_best_1_bin(seed, rate):
    strategy, state, members_PN = started(seed, rate=rate)
    crossed = []
    for key in jax.random.split(jax.random.key(seed), 8):
        trials_PLD, _ = strategy.ask(key, strategy.params, state)
        for parent, trial_N in enumerate(np.asarray(trials_PLD).reshape(P, L * D)):
            found = explanations(trial_N, parent, 2, members_PN)
            assert found, "no two members explain the trial"
            assert max(mask.sum() for mask in found) >= 1, "nothing was crossed over"
            crossed.append(max(mask.sum() for mask in found))
    share = np.mean(crossed) / (L * D)
    # One coordinate is forced, the others cross at the rate: (1 + 3 rate) / 4.
    assert share == pytest.approx((1 + 3 * rate) / 4, abs=0.1)
    if rate in (0.0, 1.0):
        assert set(crossed) == {1 if rate == 0.0 else L * D}


def test_trials_use_another_pair_each_generation():
    strategy, state, _ = started(0, rate=1.0)
    asked = [strategy.ask(jax.random.key(k), strategy.params, state)[0] for k in range(6)]
    assert len({np.asarray(trials_PLD).tobytes() for trials_PLD in asked}) == 6


@pytest.mark.parametrize("seed", every(range(3), 0))
def test_selection_is_one_to_one_and_ties_move(seed):
    rng = np.random.default_rng(seed)
    loss_P = rng.integers(0, 4, P).astype(np.float32)
    strategy, state, members_PN = started(seed, loss_P)
    trials_PLD, state = strategy.ask(jax.random.key(1), strategy.params, state)
    trial_loss_P = rng.integers(0, 4, P).astype(np.float32)
    trial_loss_P[0] = loss_P[0]
    after = strategy.tell(
        jax.random.key(2), strategy.params, trials_PLD, jnp.asarray(trial_loss_P), state
    )
    trials_PN = np.asarray(trials_PLD).reshape(P, L * D)
    expected_PN = [
        trials_PN[i] if trial_loss_P[i] <= loss_P[i] else members_PN[i] for i in range(P)
    ]
    np.testing.assert_array_equal(after.population, expected_PN)
    np.testing.assert_array_equal(after.fitness, np.minimum(loss_P, trial_loss_P))


def test_a_failed_member_never_wins_and_is_replaced():
    loss_P = jnp.array([jnp.inf, 4, 1, jnp.inf, 2, 6])
    strategy, state, members_PN = started(0, loss_P, rate=1.0)
    assert float(state.best_fitness) == 1.0
    trials_PLD, state = strategy.ask(jax.random.key(1), strategy.params, state)
    trials_PN = np.asarray(trials_PLD).reshape(P, L * D)
    # The base of every trial is the best member that did not fail.
    assert all(explanations(trials_PN[i], i, 2, members_PN) for i in range(P))
    # Any finite loss is better than a failure, and a failure better than nothing else.
    trial_loss_P = jnp.array([1e9, jnp.inf, jnp.inf, 500, 1, jnp.inf])
    after = strategy.tell(jax.random.key(2), strategy.params, trials_PLD, trial_loss_P, state)
    np.testing.assert_array_equal(after.fitness, [1e9, 4, 1, 500, 1, 6])
    kept_P = np.array([np.array_equal(after.population[i], members_PN[i]) for i in range(P)])
    assert kept_P.tolist() == [False, True, True, False, False, True]
    assert float(after.best_fitness) == 1.0
    assert np.isfinite(after.population).all()


def test_a_population_that_failed_whole_recovers():
    strategy, state, _ = started(0, jnp.full(P, jnp.inf))
    trials_PLD, state = strategy.ask(jax.random.key(1), strategy.params, state)
    assert np.isfinite(trials_PLD).all()
    after = strategy.tell(
        jax.random.key(2), strategy.params, trials_PLD, jnp.arange(float(P)), state
    )
    np.testing.assert_array_equal(after.fitness, np.arange(P))
    assert float(after.best_fitness) == 0.0


def test_the_best_loss_never_rises():
    strategy, state, _ = started(4)
    best = [float(state.fitness.min())]
    for generation in range(20):
        key = jax.random.fold_in(jax.random.key(9), generation)
        trials_PLD, state = strategy.ask(key, strategy.params, state)
        loss_P = jnp.sum(jnp.abs(trials_PLD), axis=(1, 2))
        state = strategy.tell(
            key, strategy.params, trials_PLD, loss_P.at[generation % P].set(jnp.inf), state
        )
        best.append(float(state.fitness.min()))
    assert best == sorted(best, reverse=True)
    assert best[-1] < best[0]


def test_trials_stay_in_the_affine_span_of_the_population():
    # Full crossover only recombines: with 4 members of 12 coordinates it cannot leave 3 dimensions.
    strategy = make_strategy("DifferentialEvolution", 4, (3, 4), 1.0, {"crossover_rate": 1.0})
    members_PLD = jax.random.normal(jax.random.key(0), (4, 3, 4))
    state = strategy.init(jax.random.key(1), strategy.params, members_PLD, jnp.arange(4.0))
    trials_PLD, _ = strategy.ask(jax.random.key(2), strategy.params, state)
    both_PN = np.concatenate([members_PLD, trials_PLD]).reshape(8, 12)
    assert np.linalg.matrix_rank(both_PN[1:] - both_PN[:1], tol=1e-4) == 3
