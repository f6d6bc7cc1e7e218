"""Simulated respondents: the formula beside the simulation, and intervals over respondents."""

from typing import Any

import numpy as np
import pytest

from jaxalign.evidence.sampling import (
    bootstrap_respondents,
    index_standard_error,
    simulate_respondents,
    simulated_error,
)
from jaxalign.survey import (
    distance,
    item_means,
    load_instrument,
    make_scoring,
    scores_from_means,
)

SCORING = make_scoring(load_instrument("vsm13"), 50.0)
UNIFORM_QA = np.full((24, 5), 0.2)
TARGET_C = np.array([80.0, 20.0, 66.0, 30.0, 87.0, 24.0], np.float32)


def scores(shares: Any) -> np.ndarray:
    return np.asarray(scores_from_means(SCORING, item_means(SCORING, shares)))


def answer_shares(answers_NQ: np.ndarray, options: int) -> np.ndarray:
    return np.mean(answers_NQ[..., None] == np.arange(options), axis=0)


def scores_and_loss(shares: Any) -> np.ndarray:
    """Six scores and the loss, [..., 7]."""
    scores_C = scores(shares)
    return np.concatenate([scores_C, np.asarray(distance(scores_C, TARGET_C, "l1"))[..., None]], -1)


def peaked(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(0.5 * np.ones(5), 24)


@pytest.mark.parametrize(
    ("respondents", "low", "high"), [(1, 86, 106), (5, 38, 48), (20, 19, 24), (50, 12, 15)]
)
def test_the_formula_for_uniform_answers(respondents, low, high):
    error_C = index_standard_error(SCORING.weights_CQ, SCORING.values_QA, UNIFORM_QA, respondents)
    assert error_C.round().min() == low and error_C.round().max() == high


@pytest.mark.parametrize("probabilities_QA", [UNIFORM_QA, peaked(0)], ids=["uniform", "peaked"])
@pytest.mark.parametrize("respondents", [1, 20])
def test_the_formula_and_the_simulation_agree(probabilities_QA, respondents):
    formula_C = index_standard_error(
        SCORING.weights_CQ, SCORING.values_QA, probabilities_QA, respondents
    )
    simulated_C = simulated_error(probabilities_QA, scores, respondents, seed=0, samples=4000)
    np.testing.assert_allclose(simulated_C, formula_C, rtol=0.06)


def test_respondents_answer_by_the_probabilities():
    probabilities_QA = peaked(1)
    probabilities_QA[3] = [0, 0.5, 0, 0.5, 0]  # an option that is not offered is never chosen
    answers_NQ = simulate_respondents(probabilities_QA, 20_000, seed=0)
    assert answers_NQ.shape == (20_000, 24)
    np.testing.assert_allclose(answer_shares(answers_NQ, 5), probabilities_QA, atol=0.015)
    assert set(answers_NQ[:, 3]) == {1, 3}
    np.testing.assert_array_equal(answers_NQ, simulate_respondents(probabilities_QA, 20_000, 0))
    assert (answers_NQ != simulate_respondents(probabilities_QA, 20_000, 1)).any()


def test_one_seed_is_one_crowd_for_two_methods():
    """Who differs between two methods, differs by as little as the probabilities make them."""
    one_QA, other_QA = UNIFORM_QA.copy(), UNIFORM_QA.copy()
    other_QA[:, :2] += [[0.05, -0.05]]
    one_NQ, other_NQ = (simulate_respondents(p, 5000, 7) for p in (one_QA, other_QA))
    assert np.mean(one_NQ != other_NQ) == pytest.approx(0.05, abs=0.005)


def test_float32_shares_that_do_not_sum_to_one():
    probabilities_QA = np.full((2, 3), 1 / 3, np.float32) * np.float32(0.9999)
    assert simulate_respondents(probabilities_QA, 30_000, 0).max() == 2
    assert simulated_error(probabilities_QA, lambda shares: shares[..., 0], 4, 0).shape == (2,)


@pytest.mark.parametrize("respondents", [5, 50])
def test_intervals_equal_those_of_respondents_drawn_one_by_one(respondents):
    answers_NQ = simulate_respondents(peaked(2), respondents, seed=0)
    found_K2 = bootstrap_respondents(answers_NQ, 5, scores_and_loss, seed=0, resamples=4000)
    rng = np.random.default_rng(1)
    drawn_BK = [
        scores_and_loss(answer_shares(answers_NQ[rng.integers(0, respondents, respondents)], 5))
        for _ in range(1000)
    ]
    expected_K2 = np.quantile(drawn_BK, [0.025, 0.975], axis=0).T
    assert found_K2.shape == (7, 2)
    width_K1 = expected_K2[:, 1:] - expected_K2[:, :1]
    np.testing.assert_allclose((found_K2 - expected_K2) / width_K1, 0, atol=0.1)


def test_the_interval_of_a_score_is_about_as_wide_as_the_formula_says():
    probabilities_QA = peaked(3)
    answers_NQ = simulate_respondents(probabilities_QA, 400, seed=0)
    interval_C2 = bootstrap_respondents(answers_NQ, 5, scores, seed=0)
    error_C = index_standard_error(SCORING.weights_CQ, SCORING.values_QA, probabilities_QA, 400)
    np.testing.assert_allclose(interval_C2[:, 1] - interval_C2[:, 0], 2 * 1.96 * error_C, rtol=0.2)


def test_one_respondent_has_no_spread():
    interval_K2 = bootstrap_respondents(
        simulate_respondents(UNIFORM_QA, 1, 0), 5, scores_and_loss, seed=0
    )
    np.testing.assert_array_equal(interval_K2[:, 0], interval_K2[:, 1])


def test_pairs_are_compared_more_closely_than_two_samples():
    one_QA = peaked(4)
    other_QA = 0.95 * one_QA + 0.05 * UNIFORM_QA
    one_NQ, other_NQ = (simulate_respondents(p, 50, 0) for p in (one_QA, other_QA))
    paired_C2 = bootstrap_respondents(one_NQ, 5, scores, 0, other_NQ)
    alone_C2 = bootstrap_respondents(one_NQ, 5, scores, seed=0)
    assert (np.diff(paired_C2) < 0.7 * np.diff(alone_C2)).all()
    difference_C = scores(answer_shares(one_NQ, 5)) - scores(answer_shares(other_NQ, 5))
    assert (paired_C2[:, 0] <= difference_C).all() and (difference_C <= paired_C2[:, 1]).all()
    same_C2 = bootstrap_respondents(one_NQ, 5, scores, 0, one_NQ)
    np.testing.assert_array_equal(same_C2, 0)


def test_answers_that_are_none():
    for answers_NQ in (np.array([[5]]), np.array([[-1]]), np.zeros((0, 3), int)):
        with pytest.raises(ValueError, match="indices below 5"):
            bootstrap_respondents(answers_NQ, 5, scores, seed=0)
    with pytest.raises(ValueError, match="equal shapes"):
        bootstrap_respondents(np.zeros((2, 3), int), 5, scores, 0, np.zeros((3, 3), int))
