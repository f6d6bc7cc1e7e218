"""GaussNewton on answers that are linear in the candidate, where every step is known."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.search import ExpectedAnswers, make_strategy
from jaxalign.search.answer_model import Beliefs, Seen, jacobian, learn

P, L, D, F, Q, C = 40, 3, 8, 2, 5, 2
N, M = L * D, F * Q
LINES = 4
PARAMS = {"archive_size": 64, "step": 1.0, "curvature": 0.0, "reach": 100.0}
RNG = np.random.default_rng(0)
JACOBIAN_MN = RNG.normal(size=(M, N)).astype(np.float32)
ORIGIN_M = RNG.normal(size=M).astype(np.float32)
WEIGHTS_CQ = RNG.normal(size=(C, Q)).astype(np.float32)
WANTED_C = np.array([3.0, -2.0], np.float32)


def answer(vectors_PN) -> ExpectedAnswers:
    means_PM = vectors_PN @ JACOBIAN_MN.T + ORIGIN_M
    return ExpectedAnswers(
        means_PM.reshape(-1, F, Q), jnp.asarray(WEIGHTS_CQ), jnp.asarray(WANTED_C)
    )


def rest(vectors_PN) -> np.ndarray:
    """How far each score of each format is from the target's, [P, F, C]."""
    answers_PFQ = np.asarray(answer(np.asarray(vectors_PN)).means_PFQ)
    return answers_PFQ @ WEIGHTS_CQ.T - WANTED_C


def loss(vectors_PN) -> np.ndarray:
    return np.abs(rest(vectors_PN)).sum(axis=(1, 2))


@functools.cache
def started():
    strategy = make_strategy("GaussNewton", P, (N,), 1.0, PARAMS, rows=L)
    first_PN = RNG.normal(size=(P, N)).astype(np.float32)
    state = strategy.init(
        jax.random.key(0), strategy.params, first_PN, jnp.asarray(loss(first_PN)), answer(first_PN)
    )
    return strategy, first_PN, state


def asked(state):
    strategy, *_ = started()
    vectors_PN, state = strategy.ask(jax.random.key(1), strategy.params, state)
    return np.asarray(vectors_PN), state


def test_one_step_on_a_linear_model_reaches_the_target():
    _, first_PN, state = started()
    vectors_PN, _ = asked(state)
    assert loss(vectors_PN)[0] < 1e-3 * loss(first_PN).min()
    # Other lengths of the same step go as far past it or stay as far before it.
    best = first_PN[[np.argmin(loss(first_PN))]]
    np.testing.assert_allclose(rest(vectors_PN)[2], 0.5 * rest(best)[0], atol=1e-2)


def test_the_step_is_the_shortest_one():
    _, first_PN, state = started()
    vectors_PN, _ = asked(state)
    best_N = first_PN[np.argmin(loss(first_PN))]
    slope_KN = np.kron(np.eye(F), WEIGHTS_CQ) @ JACOBIAN_MN
    shortest_N = -np.linalg.pinv(slope_KN) @ rest(best_N[None]).ravel()
    np.testing.assert_allclose(vectors_PN[0] - best_N, shortest_N, atol=2e-3)


def test_exploration_moves_answers_and_no_score():
    _, _, state = started()
    vectors_PN, after = asked(state)
    explorers_PN = vectors_PN[LINES:]
    like_P = np.isclose(after.trial_step[LINES:], after.trial_step[0])
    scores_PFC = rest(explorers_PN[like_P])
    assert len(scores_PFC) > 10
    np.testing.assert_allclose(scores_PFC, np.broadcast_to(rest(vectors_PN)[0], scores_PFC.shape),
                               atol=2e-3)  # fmt: skip
    moved_PM = (explorers_PN[like_P] - vectors_PN[0]) @ JACOBIAN_MN.T
    assert (np.linalg.norm(moved_PM, axis=1) > 1e-2).all()


def test_a_wrong_model_shrinks_the_step_and_a_right_one_keeps_it():
    strategy, _, state = started()
    vectors_PN, after = asked(state)
    told = functools.partial(strategy.tell, jax.random.key(2), strategy.params)
    worse = told(vectors_PN, jnp.full(P, 1e3), after, answer(vectors_PN))
    assert float(worse.step) == pytest.approx(1 / 3)
    np.testing.assert_array_equal(worse.best_solution, state.best_solution)
    better = told(vectors_PN, jnp.asarray(loss(vectors_PN)), after, answer(vectors_PN))
    assert float(better.step) == 1.0
    np.testing.assert_array_equal(better.best_solution, vectors_PN[np.argmin(loss(vectors_PN))])
    for _ in range(6):
        worse = told(vectors_PN, jnp.full(P, 1e3), worse, answer(vectors_PN))
    assert float(worse.step) == pytest.approx(0.02)  # never none


def test_the_order_of_the_archive_does_not_matter():
    _, _, state = started()
    order = np.random.default_rng(1).permutation(len(state.losses))
    shuffled = dataclasses.replace(
        state,
        vectors=state.vectors[order],
        answers=state.answers[order],
        losses=state.losses[order],
        generation_counter=jnp.int32(1),  # so that it learns too
    )
    expected_PN, _ = asked(dataclasses.replace(state, generation_counter=jnp.int32(1)))
    vectors_PN, _ = asked(shuffled)
    np.testing.assert_allclose(vectors_PN, expected_PN, atol=5e-3)


def test_what_a_failed_candidate_answered_is_not_believed():
    strategy, first_PN, _ = started()
    loss_P = jnp.asarray(loss(first_PN)).at[7].set(jnp.inf)
    candidates = []
    for garbage in (0.0, jnp.nan):
        told = answer(first_PN)
        told = dataclasses.replace(told, means_PFQ=jnp.asarray(told.means_PFQ).at[7].set(garbage))
        state = strategy.init(jax.random.key(0), strategy.params, first_PN, loss_P, told)
        candidates.append(asked(state)[0])
    np.testing.assert_array_equal(*candidates)
    assert np.isfinite(candidates[0]).all()


def test_the_ring_forgets_the_oldest():
    strategy = make_strategy("GaussNewton", 4, (N,), 1.0, {"archive_size": 6}, rows=L)
    generations = [np.full((4, N), number, np.float32) for number in range(3)]
    key, loss_P = jax.random.key(0), jnp.ones(4)
    state = strategy.init(key, strategy.params, generations[0], loss_P, answer(generations[0]))
    for vectors_PN in generations[1:]:
        state = strategy.tell(key, strategy.params, vectors_PN, loss_P, state, answer(vectors_PN))
    assert sorted(np.asarray(state.vectors)[:, 0]) == [1, 1, 2, 2, 2, 2]


def test_rows_that_move_no_answer_are_found():
    rng = np.random.default_rng(2)
    of_row_ML = np.array([1.0, 0.0, 0.3])
    jacobian_MLD = rng.normal(size=(M, L, D)) * of_row_ML[:, None]
    moves_nLD = rng.normal(size=(100, L, D))
    changes_nM = np.einsum("mld,nld->nm", jacobian_MLD, moves_nLD)
    seen = Seen(
        jnp.asarray(moves_nLD, jnp.float32),
        jnp.asarray(changes_nM, jnp.float32),
        jnp.ones(100, bool),
    )
    beliefs = Beliefs(jnp.eye(L), jnp.float32(0.01))
    for _ in range(5):
        beliefs = jax.jit(learn)(seen, beliefs)
    found_L = np.diag(beliefs.rows_LL) / beliefs.rows_LL[0, 0]
    assert found_L[1] < 0.05
    assert found_L[2] == pytest.approx(0.09, abs=0.05)
    np.testing.assert_allclose(jax.jit(jacobian)(seen, beliefs), jacobian_MLD, atol=0.02)
