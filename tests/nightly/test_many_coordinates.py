"""Every strategy over 8,192 coordinates for 50 generations: nothing becomes NaN."""

import jax
import jax.numpy as jnp
import pytest

from jaxalign.search import ExpectedAnswers, make_strategy, strategy_names

N, P, GENERATIONS = 8192, 16, 50
# Their state has a matrix of N², minutes a generation on two cores; EvoTF_ES wants 109 GB.
QUADRATIC = {"ASEBO", "CMA_ES", "EvoTF_ES", "MA_ES", "iAMaLGaM_Full", "xNES"}
WANTED_Q = jnp.array([3.0, -2.0, 1.0, 0.0, 2.0, -4.0])
pytestmark = pytest.mark.filterwarnings("ignore:optax.global_norm is deprecated:DeprecationWarning")


def ask_model(vectors_PN):
    """Six answers that depend on all coordinates, and their distance from those wanted."""
    weights_NQ = jax.random.normal(jax.random.key(9), (N, len(WANTED_Q))) * 10 / N**0.5
    means_PQ = vectors_PN @ weights_NQ
    answers = ExpectedAnswers(means_PQ[:, None], jnp.eye(len(WANTED_Q)), WANTED_Q)
    return jnp.linalg.norm(means_PQ - WANTED_Q[None], axis=-1), answers


@pytest.mark.parametrize("name", sorted(set(strategy_names()) - QUADRATIC))
def test_nothing_becomes_nan(name):
    strategy = make_strategy(name, P, (N,), 0.05, {}, GENERATIONS)

    @jax.jit
    def step(key, state):
        ask_key, tell_key = jax.random.split(key)
        vectors_PN, state = strategy.ask(ask_key, strategy.params, state)
        loss_P, answers = ask_model(vectors_PN)
        state = strategy.tell(tell_key, strategy.params, vectors_PN, loss_P, state, answers)
        return state, loss_P

    first_PN = 0.05 * jax.random.normal(jax.random.key(0), (P, N))
    first_P, answers = ask_model(first_PN)
    state = jax.jit(strategy.init)(jax.random.key(1), strategy.params, first_PN, first_P, answers)
    for generation in range(GENERATIONS):
        state, loss_P = step(jax.random.fold_in(jax.random.key(2), generation), state)
        assert bool(jnp.all(jnp.isfinite(loss_P))), generation  # so every candidate is finite
