"""What every strategy offers a search: members, migrants, losses measured anew; and sharded."""

import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import every

from jaxalign.search import make_strategy

P, SHAPE = 6, (2, 2)
# Compile time, not run time, is what these tests cost.
OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
jit = functools.partial(jax.jit, compiler_options=OPTIONS)
OURS = ["jDE", "JADE", "SHADE", "LSHADE"]
EXCHANGE = [*OURS, "DifferentialEvolution", "GESMR_GA", "MR15_GA", "SAMR_GA", "SimpleGA"]


@functools.cache
def built(name: str):
    strategy = make_strategy(name, P, SHAPE, 0.5, {}, 10)
    return strategy, jit(strategy.init), jit(strategy.receive), jit(strategy.refresh)


def started(name: str, loss_P, size: int = P):
    """A state of members that are all 0, all 1, and so on; of L-SHADE's only `size` count."""
    strategy, init, receive, refresh = built(name)
    members = jnp.arange(float(P))[:, None, None] * jnp.ones((P, *SHAPE))
    state = init(jax.random.key(0), strategy.params, members, jnp.asarray(loss_P, jnp.float32))
    if size < P:
        state = state.replace(
            size=jnp.int32(size),
            fitness=jnp.where(jnp.arange(P) < size, state.fitness, jnp.inf),
        )
    return strategy, receive, refresh, state


def migrants(loss_K):
    """Vectors that are all 100, all 101, and so on."""
    vectors = (100.0 + jnp.arange(float(len(loss_K))))[:, None, None] * jnp.ones(SHAPE)[None]
    return vectors, jnp.asarray(loss_K, jnp.float32)


@pytest.mark.parametrize("name", every(EXCHANGE, "LSHADE"))
def test_better_migrants_take_the_places_of_the_worst(name):
    strategy, receive, _, state = started(name, [3, 9, 1, 7, 5, 2])
    after = receive(state, *migrants([8, 0.5, 6]))
    # Best against worst: 0.5 takes 9's place, 6 takes 7's, and 8 does not take 5's.
    np.testing.assert_array_equal(after.fitness, [3, 0.5, 1, 6, 5, 2])
    assert strategy.members(after)[:, 0, 0].tolist() == [0, 101, 2, 102, 4, 5]
    assert float(after.best_fitness) == 0.5
    assert after.best_solution.tolist() == [101.0] * 4
    # All else stays.
    touched = ("population", "fitness", "best_solution", "best_fitness")
    touched = {field: getattr(state, field) for field in touched}
    for new, old in zip(
        jax.tree.leaves(after.replace(**touched)), jax.tree.leaves(state), strict=True
    ):
        np.testing.assert_array_equal(new, old)


losses = st.one_of(st.integers(0, 9).map(float), st.just(float("inf")))


@settings(deadline=None, max_examples=60)
@given(
    loss_P=st.lists(losses, min_size=P, max_size=P),
    loss_K=st.lists(losses, min_size=3, max_size=3),
    size=st.integers(4, P),
)
def test_migrants_meet_the_worst_members_that_count(loss_P, loss_K, size):
    _, receive, _, state = started("LSHADE", loss_P, size)
    after = receive(state, *migrants(loss_K))
    members = sorted(loss_P[:size], reverse=True)
    met = [min(pair) for pair in zip(members, sorted(loss_K), strict=False)]
    expected = met + members[3:] + [np.inf] * (P - size)
    assert sorted(np.asarray(after.fitness).tolist()) == sorted(expected)
    entered = np.asarray(after.population)[:, 0] >= 100
    assert not entered[size:].any()
    assert np.isfinite(after.fitness[entered]).all()
    for row, loss in zip(after.population[entered], after.fitness[entered], strict=True):
        assert loss_K[int(row[0]) - 100] == float(loss)
    assert float(after.best_fitness) == min([*loss_P, *loss_K])


def test_more_migrants_than_members():
    _, receive, _, state = started("jDE", [3, 9, 1, 7, 5, 2])
    after = receive(state, *migrants([0.0, 20, 30, 40, 4, 60, 0.5, 0.25]))
    np.testing.assert_array_equal(after.fitness, [3, 0, 1, 0.25, 0.5, 2])
    nobody = receive(state, *migrants([np.inf] * 8))
    np.testing.assert_array_equal(nobody.population, state.population)
    np.testing.assert_array_equal(nobody.fitness, state.fitness)


@pytest.mark.parametrize("name", every(EXCHANGE, "LSHADE"))
def test_losses_measured_anew_replace_the_old(name):
    _, _, refresh, state = started(name, [3, 9, 1, 7, 5, 2])
    after = refresh(state, jnp.array([4.0, 8, 6, 7, 2.5, 3]))
    np.testing.assert_array_equal(after.fitness, [4, 8, 6, 7, 2.5, 3])
    # The record that luck had made is gone: it is the best member's.
    assert float(after.best_fitness) == 2.5
    assert after.best_solution.tolist() == [4.0] * 4
    np.testing.assert_array_equal(after.population, state.population)
    failed = refresh(state, jnp.array([4.0, 8, jnp.inf, 7, 2.5, 3]))
    assert float(failed.fitness[2]) == (np.inf if name in [*OURS, "DifferentialEvolution"] else 8)


def test_rows_that_do_not_count_are_not_measured():
    _, _, refresh, state = started("LSHADE", [3, 9, 1, 7, 5, 2], size=4)
    after = refresh(state, jnp.array([4.0, 8, 6, 7, -1, -1]))
    np.testing.assert_array_equal(after.fitness, [4, 8, 6, 7, np.inf, np.inf])
    assert float(after.best_fitness) == 4.0


@pytest.mark.parametrize(
    "name", every(["PSO", "DiffusionEvolution", "LearnedGA", "SNES", "CMA_ES"], "PSO", "SNES")
)
def test_others_neither_receive_nor_refresh(name):
    strategy, receive, refresh, state = started(name, [3, 9, 1, 7, 5, 2])
    assert not strategy.exchanges
    for after in (receive(state, *migrants([0.0])), refresh(state, jnp.zeros(P))):
        for new, old in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
            np.testing.assert_array_equal(new, old)
    assert int(strategy.active(state)) == P
    if strategy.keeps_population:
        assert strategy.members(state)[:, 1, 1].tolist() == [0, 1, 2, 3, 4, 5]
    else:
        with pytest.raises(TypeError, match=f"{name} keeps no population"):
            strategy.members(state)


@pytest.mark.parametrize("name", every(EXCHANGE, "LSHADE"))
def test_a_migrant_leads_on(name):
    # The search goes on from what it received: candidates come from the migrant's surroundings.
    strategy, receive, _, state = started(name, [3, 9, 1, 7, 5, 2])
    after = receive(state, *migrants([0.25, 0.5, 0.75, 0.8]))
    candidates, _ = jit(strategy.ask)(jax.random.key(1), strategy.params, after)
    assert strategy.exchanges
    assert (np.asarray(candidates) > 50).any()


@pytest.mark.nightly
def test_a_population_sharded_over_coordinates_needs_no_collective():
    script = """
import re
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxalign.search import make_strategy
N = 64
mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
def placed(leaf):
    wide = leaf.ndim and leaf.shape[-1] == N
    axes = [None] * (leaf.ndim - 1) + ["d"] if wide else []
    return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec(*axes)))
for name in ("jDE", "LSHADE"):  # between them, all shared parts
    strategy = make_strategy(name, 6, (8, 8), 1.0, {}, 5)
    key, start = jax.random.key(0), jax.random.normal(jax.random.key(1), (6, 8, 8))
    alone = strategy.init(key, strategy.params, start, jnp.arange(6.0))
    sharded = jax.tree.map(placed, alone)
    ask, tell = jax.jit(strategy.ask), jax.jit(strategy.tell)
    loss = jnp.arange(6.0)[::-1]
    texts = [ask.lower(key, strategy.params, sharded).compile().as_text()]
    trials, asked = ask(key, strategy.params, sharded)
    assert len({str(s.index) for s in trials.addressable_shards}) == 4
    texts.append(tell.lower(key, strategy.params, trials, loss, asked).compile().as_text())
    after = tell(key, strategy.params, trials, loss, asked)
    trials, asked = ask(key, strategy.params, alone)
    expected = tell(key, strategy.params, trials, loss, asked)
    for text in texts:
        assert not re.search("all-(gather|reduce|to-all)|collective-permute", text), name
    for one, other in zip(jax.tree.leaves(after), jax.tree.leaves(expected)):
        np.testing.assert_array_equal(one, other)
"""
    flags = "--xla_force_host_platform_device_count=4"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
