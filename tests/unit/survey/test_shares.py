"""Distances between answer distributions: equal to scipy's, finite, and with a gradient."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.spatial.distance
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxalign.errors import UserError
from jaxalign.survey import (
    distance_to_target,
    item_distances,
    jensen_shannon,
    load_instrument,
    make_scoring,
    null_baseline,
    parse_instrument,
    score_answers,
    targets_for,
)

OPINIONS = load_instrument("example_opinions")
SCORING = make_scoring(OPINIONS)


def random_answers(seed: int, *batch: int, instrument=OPINIONS) -> np.ndarray:
    """Shares of 1 for each item, 0 where it has fewer options."""
    rng = np.random.default_rng(seed)
    answers = np.zeros((*batch, len(instrument.items), 5), np.float32)
    for index, item in enumerate(instrument.items):
        count = len(item.options)
        answers[..., index, :count] = rng.dirichlet(np.full(count, 0.7), batch)
    return answers


def scipy_distances(one_QA: np.ndarray, other_QA: np.ndarray) -> np.ndarray:
    """Of each item, in percent."""
    distances = []
    for item, one_A, other_A in zip(OPINIONS.items, one_QA, other_QA, strict=True):
        count = len(item.options)
        one, other = (np.asarray(each[:count], np.float64) for each in (one_A, other_A))
        if item.nominal:
            # The distance, not the divergence, with logarithms of base 2.
            distances.append(scipy.spatial.distance.jensenshannon(one, other, 2))
        else:
            width = max(item.values) - min(item.values)
            moved = scipy.stats.wasserstein_distance(item.values, item.values, one, other)
            distances.append(moved / width)
    return 100 * np.array(distances)


@pytest.mark.parametrize("seed", range(8))
def test_distances_equal_scipys(seed):
    one_QA, other_QA = random_answers(seed), random_answers(100 + seed)
    scores_C = score_answers(SCORING, jnp.asarray(one_QA))
    target_C = score_answers(SCORING, jnp.asarray(other_QA))
    ours_Q = item_distances(SCORING, scores_C, target_C)
    theirs_Q = scipy_distances(one_QA, other_QA)
    np.testing.assert_allclose(ours_Q, theirs_Q, rtol=2e-5, atol=1e-4)
    loss = distance_to_target(SCORING, scores_C, target_C[None], "l1")
    np.testing.assert_allclose(loss, [theirs_Q.mean()], rtol=1e-5)
    loss = distance_to_target(SCORING, scores_C, target_C[None], "l2")
    np.testing.assert_allclose(loss, [np.sqrt((theirs_Q**2).mean())], rtol=1e-5)


@pytest.mark.parametrize("values", [[1, 2, 3], [3, 1, 2], [0, 0, 10], [-5, 2, 2.5]])
def test_values_in_any_order_and_at_any_distance(values):
    raw = one_item({"options": ["a", "b", "c"], "values": values})
    scoring = make_scoring(parse_instrument(raw, "own"))
    rng = np.random.default_rng(0)
    for one_A, other_A in rng.dirichlet(np.ones(3), (20, 2)).astype(np.float32):
        ours = item_distances(scoring, jnp.asarray(100 * one_A), jnp.asarray(100 * other_A))
        theirs = scipy.stats.wasserstein_distance(values, values, one_A, other_A)
        width = max(values) - min(values)
        np.testing.assert_allclose(ours, [100 * theirs / width], rtol=1e-4, atol=1e-4)


def test_wasserstein_is_the_least_work_of_moving_answers():
    """By its definition, as a linear program over what is moved from where to where."""
    item = next(item for item in OPINIONS.items if item.id == "kin")
    values_A, count = np.array(item.values), len(item.values)
    one_A, other_A = np.random.default_rng(3).dirichlet(np.ones(count), 2)
    cost_AA = np.abs(values_A[:, None] - values_A) / np.ptp(values_A)
    leaves = np.kron(np.eye(count), np.ones(count))
    arrives = np.kron(np.ones(count), np.eye(count))
    least = scipy.optimize.linprog(
        cost_AA.ravel(), A_eq=np.vstack([leaves, arrives]), b_eq=[*one_A, *other_A]
    )
    one_QA, other_QA = random_answers(1), random_answers(1)
    place = OPINIONS.items.index(item)
    one_QA[place, :count], other_QA[place, :count] = one_A, other_A
    scores = [score_answers(SCORING, jnp.asarray(each)) for each in (one_QA, other_QA)]
    distances_Q = np.asarray(item_distances(SCORING, *scores))
    assert distances_Q[place] == pytest.approx(100 * least.fun, rel=1e-4)
    assert np.delete(distances_Q, place).max() < 1e-3


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.floats(0.01, 30))
def test_jensen_shannon_is_a_distance_from_0_to_1(seed, concentration):
    rng = np.random.default_rng(seed)
    one, other, third = rng.dirichlet(np.full(5, concentration), 3).astype(np.float32)
    there, back = jensen_shannon(one, other), jensen_shannon(other, one)
    assert 0 <= float(there) <= 1 + 1e-5
    assert float(there) == pytest.approx(float(back), abs=1e-6)
    assert float(there) <= float(jensen_shannon(one, third) + jensen_shannon(third, other)) + 1e-5
    assert float(jensen_shannon(one, one)) == 0
    theirs = scipy.spatial.distance.jensenshannon(one.astype(float), other.astype(float), 2)
    assert float(there) == pytest.approx(theirs, rel=1e-3, abs=2e-4)


@pytest.mark.parametrize("apart", [1e-2, 1e-3, 1e-4])
def test_jensen_shannon_of_neighbours_keeps_its_digits(apart):
    one = np.array([0.3 + apart, 0.7 - apart], np.float32)
    other = np.array([0.3, 0.7], np.float32)
    theirs = scipy.spatial.distance.jensenshannon(one.astype(float), other.astype(float), 2)
    assert float(jensen_shannon(one, other)) == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 0, 0], [0, 1, 0], 1.0),
        ([1, 0], [0.5, 0.5], 0.5579230452841438),  # sqrt(1.5 - 0.75 log2 3)
        ([0.5, 0.5, 0], [0.5, 0.5, 0], 0.0),
        ([1e-12, 1.0], [1.0, 0.0], 1.0),
        ([1e-39, 1.0], [1.0, 0.0], 1.0),  # below float32's smallest normal number
    ],
)
def test_jensen_shannon_where_options_are_empty(one, other, expected):
    one, other = jnp.array(one, jnp.float32), jnp.array(other, jnp.float32)
    assert float(jensen_shannon(one, other)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("scale", "leads"), [(0.0, True), (1.0, True), (40.0, False), (300.0, False)]
)
def test_the_gradient_is_finite_and_leads_to_the_target(scale, leads):
    """At uniform answers and at varied ones; where the softmax leaves options at 0 it is finite."""
    offered_QA = jnp.asarray(SCORING.offered_QA)
    target_C = score_answers(SCORING, jnp.asarray(random_answers(5)))[None]
    logits_QA = scale * jax.random.normal(jax.random.key(0), offered_QA.shape)

    @jax.jit
    @jax.value_and_grad
    def loss(logits_QA):
        answers_QA = jax.nn.softmax(jnp.where(offered_QA, logits_QA, -jnp.inf), axis=-1)
        scores_C = score_answers(SCORING, answers_QA)
        return distance_to_target(SCORING, scores_C, target_C, "l1")[0]

    value, slope_QA = loss(logits_QA)
    assert np.isfinite(slope_QA).all()
    assert (np.asarray(slope_QA)[~np.asarray(offered_QA)] == 0).all()
    if leads:
        step = 1e-2 / float(jnp.linalg.norm(slope_QA))
        assert loss(logits_QA - step * slope_QA)[0] < value


def test_the_gradient_is_finite_at_the_target_itself():
    target_C = score_answers(SCORING, jnp.asarray(random_answers(5)))
    slope_C = jax.grad(lambda s: distance_to_target(SCORING, s, target_C[None], "l1")[0])(target_C)
    assert np.isfinite(slope_C).all()


def test_leading_axes_equal_loops():
    answers = random_answers(2, 3, 4)
    targets_GC = np.stack([score_answers(SCORING, random_answers(seed)) for seed in (8, 9)])
    scores = score_answers(SCORING, jnp.asarray(answers))
    together = distance_to_target(SCORING, scores, targets_GC, "l1")
    assert scores.shape == (3, 4, len(OPINIONS.dimensions)) and together.shape == (2, 3, 4)
    for g, p, f in np.ndindex(2, 3, 4):
        one_C = score_answers(SCORING, jnp.asarray(answers[p, f]))
        (alone,) = distance_to_target(SCORING, one_C, targets_GC[g : g + 1], "l1")
        assert float(together[g, p, f]) == pytest.approx(float(alone), rel=1e-5)


def test_scores_are_the_shares_by_key():
    answers_QA = random_answers(4)
    scores = dict(zip(OPINIONS.dimensions, score_answers(SCORING, answers_QA), strict=True))
    assert len(scores) == sum(len(item.options) for item in OPINIONS.items) == 31
    for item, shares_A in zip(OPINIONS.items, answers_QA, strict=True):
        assert item.dimensions == tuple(f"{item.id}={label}" for label in item.labels)
        ours = [float(scores[key]) for key in item.dimensions]
        np.testing.assert_allclose(ours, 100 * shares_A[: len(ours)], rtol=1e-6)


def test_uniform_answers_know_nothing():
    name, scores_C = null_baseline(OPINIONS, SCORING)
    assert name == "uniform answers"
    for key, share in zip(OPINIONS.dimensions, scores_C, strict=True):
        item = next(item for item in OPINIONS.items if key in item.dimensions)
        assert share == pytest.approx(100 / len(item.options))
    # One option for everything is not one loss: it matters which.
    target_GC = np.array([[*targets_for(OPINIONS, "example_opinions")["SA"].scores.values()]])
    losses = {
        float(distance_to_target(SCORING, score_answers(SCORING, one), target_GC, "l1")[0])
        for one in (np.eye(5, dtype=np.float32)[np.full(8, option)] for option in (0, 1))
    }
    assert len(losses) == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"constant": 50.0}, "survey.constant=50.0"),
        ({"coefficients": "manual"}, "survey.coefficients='manual'"),
    ],
)
def test_what_a_distribution_does_not_have(arguments, named):
    with pytest.raises(UserError, match=named) as error:
        make_scoring(OPINIONS, **arguments)
    assert "leave it empty" in str(error.value) and "\n" not in str(error.value)


def one_item(scale: dict) -> dict:
    return copy.deepcopy(
        {
            "name": "own",
            "title": "One item",
            "instruction": "Answer.",
            "scoring": "distribution",
            "stems": {"s": "Stem."},
            "scales": {"own": scale},
            "items": [{"id": "q", "stem": "s", "scale": "own", "text": "Q"}],
        }
    )
