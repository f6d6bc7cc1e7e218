"""Every strategy in every space, through the engine: compiled once, finite, and exact to resume."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from engines import make_engine

from jaxalign.run.checkpoint import fingerprint

STRATEGIES = (
    "jDE",
    "JADE",
    "SHADE",
    "LSHADE",
    "SNES",
    "Sep_CMA_ES",
    "PGPE",
    "PSO",
    "Open_ES",
    "RandomSearch",
)
SPACES = ("full", "subspace", "texts")
QUICK = {("SNES", "subspace")}
CASES = [
    pytest.param(name, space, marks=() if (name, space) in QUICK else pytest.mark.nightly)
    for name in STRATEGIES
    for space in SPACES
]
GENERATIONS = 3


def on_host(state):
    """The state's leaves as NumPy arrays, to be put back later."""

    def leave(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.array(jax.random.key_data(leaf) if is_key else leaf)

    return jax.tree.map(leave, state)


def put_back(saved, abstract_state):
    def put(array, leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(array)
        return jnp.asarray(array, leaf.dtype)

    return jax.tree.map(put, saved, abstract_state)


@pytest.mark.filterwarnings("ignore:optax.global_norm is deprecated:DeprecationWarning")
@pytest.mark.parametrize(("name", "space"), CASES)
def test_any_strategy_searches_any_space(tiny_config, tiny_problem, name, space):
    tiny_config.search.strategy = name
    tiny_config.search.space = space
    tiny_config.search.dimension = 5
    tiny_config.search.generations = GENERATIONS
    engine = make_engine(tiny_config, tiny_problem)
    state, first = engine.start()
    best, middle = [float(first.best_loss_G[0])], None
    for generation in range(1, GENERATIONS + 1):
        # An executable that was compiled ahead takes these very types, or raises: no second trace.
        with jax.transfer_guard("disallow"):
            state, metrics = engine.step(state)
        assert int(metrics.generation) == generation and int(metrics.failed) == 0
        best.append(float(metrics.best_loss_G[0]))
        if generation == 1:
            middle = on_host(state)
    assert np.isfinite(best).all() and (np.diff(best) <= 0).all()
    for leaf in jax.tree.leaves(on_host(state)):
        assert not np.isnan(leaf).any()
    assert state.best_prompt_GLD.shape == (1, 3, 32)
    assert np.isfinite(np.asarray(state.best_prompt_GLD)).all()
    width = {"full": 96}.get(space, 5)
    assert engine.plan.vectors_E.reshape(6, -1).shape[1] == width

    # Another engine, as a process that goes on builds it, ends at the same bytes.
    again = make_engine(tiny_config, tiny_problem)
    resumed = put_back(middle, again.abstract_state)
    for _ in range(GENERATIONS - 1):
        resumed, _ = again.step(resumed)
    assert int(fingerprint(resumed)) == int(fingerprint(state))
    for ours, theirs in zip(
        jax.tree.leaves(on_host(resumed)), jax.tree.leaves(on_host(state)), strict=True
    ):
        assert ours.tobytes() == theirs.tobytes()


def test_the_start_may_be_made_twice(tiny_config, tiny_problem):
    """A step donates its state; what the start was made of must outlive that."""
    engine = make_engine(tiny_config, tiny_problem)
    start = engine.start
    state, _ = start()
    expected = on_host(state)
    engine.step(state)
    jax.tree.map(np.testing.assert_array_equal, on_host(start()[0]), expected)


def test_the_step_captures_no_array(tiny_config, tiny_problem):
    """Weights, task and space are arguments; a captured one would be compiled in and held twice."""
    tiny_config.search.space = "subspace"
    tiny_config.search.dimension = 5
    tiny_config.objective.terms.prompt_norm = 1.0
    engine = make_engine(tiny_config, tiny_problem)
    arguments = tiny_problem.weights, engine.task, engine.plan.space
    jaxpr = jax.make_jaxpr(engine.evolution.step)(*arguments, engine.abstract_state)
    assert sum(np.size(const) for const in jaxpr.consts) < 64


def test_a_step_writes_into_the_state_it_is_given(tiny_config, tiny_problem):
    tiny_config.search.strategy = "LSHADE"
    tiny_config.search.population = 40
    engine = make_engine(tiny_config, tiny_problem)
    memory = engine.step.func.memory_analysis()
    populations = [
        leaf.size * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(engine.abstract_state.strategy)
        if leaf.ndim > 2
    ]
    assert len(populations) >= 2  # the members and the archive
    assert memory.alias_size_in_bytes >= sum(populations)
    state = engine.start()[0]
    engine.step(state)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.strategy) if leaf.ndim > 2)
