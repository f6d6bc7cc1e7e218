"""Scores against the formulas written out by hand, and the limits that follow from them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance

from jaxalign.errors import UserError
from jaxalign.survey import (
    distance,
    item_means,
    load_instrument,
    load_targets,
    make_scoring,
    parse_instrument,
    scores_from_means,
)

VSM13 = load_instrument("vsm13")
KEYS = ("PDI", "IDV", "MAS", "UAI", "LTO", "IVR")


def manual_formulas(m: list[float], c: float) -> list[float]:
    """The VSM 2013 manual, page by page; `m[7]` is the mean answer to item 7."""
    return [
        35 * (m[7] - m[2]) + 25 * (m[20] - m[23]) + c,
        35 * (m[4] - m[1]) + 35 * (m[9] - m[6]) + c,
        35 * (m[5] - m[3]) + 35 * (m[8] - m[10]) + c,
        40 * (m[18] - m[15]) + 25 * (m[21] - m[24]) + c,
        40 * (m[13] - m[14]) + 25 * (m[19] - m[22]) + c,
        35 * (m[12] - m[11]) + 40 * (m[17] - m[16]) + c,
    ]


def cat2024_formulas(m: list[float], c: float) -> list[float]:
    """As arXiv 2309.12342 prints them: 25 for the second pair of MAS."""
    scores = manual_formulas(m, c)
    scores[2] = 35 * (m[5] - m[3]) + 25 * (m[8] - m[10]) + c
    return scores


FORMULAS = {"manual": manual_formulas, "cat2024": cat2024_formulas}


def random_shares(seed: int, *batch: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(5), (*batch, 24)).astype(np.float32)


def score(scoring, answers_QA) -> np.ndarray:
    return np.asarray(scores_from_means(scoring, item_means(scoring, jnp.asarray(answers_QA))))


def one_answer(option: int) -> np.ndarray:
    answers_QA = np.zeros((24, 5), np.float32)
    answers_QA[:, option] = 1
    return answers_QA


def target(name: str, country: str) -> np.ndarray:
    return np.array(list(load_targets(name, KEYS)[country].scores.values()), np.float32)


def test_the_order_of_dimensions_and_items():
    assert tuple(VSM13.dimensions) == KEYS
    assert [item.id for item in VSM13.items] == [f"m{number:02d}" for number in range(1, 25)]
    assert list(VSM13.coefficients) == ["manual", "cat2024"]
    assert not VSM13.validated


@pytest.mark.parametrize("coefficients", FORMULAS)
@pytest.mark.parametrize("constant", [0.0, 50.0, -17.5])
@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_the_written_formulas(coefficients, constant, seed):
    shares_QA = random_shares(seed)
    means = [0.0] + [sum((a + 1) * float(row[a]) for a in range(5)) for row in shares_QA]
    ours_C = score(make_scoring(VSM13, constant, coefficients), shares_QA)
    np.testing.assert_allclose(ours_C, FORMULAS[coefficients](means, constant), atol=2e-3)


def test_the_manual_is_the_default_and_the_sets_differ_in_mas_alone():
    shares_QA = random_shares(5)
    manual = score(make_scoring(VSM13, 50.0, "manual"), shares_QA)
    cat2024 = score(make_scoring(VSM13, 50.0, "cat2024"), shares_QA)
    np.testing.assert_array_equal(score(make_scoring(VSM13, 50.0), shares_QA), manual)
    assert [KEYS[c] for c in range(6) if manual[c] != cat2024[c]] == ["MAS"]


@pytest.mark.parametrize("coefficients", FORMULAS)
def test_each_item_is_used_exactly_once(coefficients):
    weights_CQ = make_scoring(VSM13, 50.0, coefficients).weights_CQ
    np.testing.assert_array_equal(np.sum(weights_CQ != 0, axis=0), np.ones(24))
    np.testing.assert_array_equal(np.sum(weights_CQ != 0, axis=1), np.full(6, 4))
    for index, item in enumerate(VSM13.items):
        assert item.dimensions == (KEYS[int(np.argmax(weights_CQ[:, index] != 0))],)


@pytest.mark.parametrize("coefficients", FORMULAS)
@pytest.mark.parametrize("option", range(5))
def test_one_answer_to_everything_scores_exactly_the_constant(coefficients, option):
    scores_C = score(make_scoring(VSM13, 50.0, coefficients), one_answer(option))
    np.testing.assert_array_equal(scores_C, np.full(6, 50.0))


def test_adding_a_constant_to_all_answers_changes_no_score():
    scoring = make_scoring(VSM13, 50.0)
    means_Q = jnp.asarray(np.random.default_rng(0).uniform(1, 4, 24), jnp.float32)
    before_C, after_C = scores_from_means(scoring, means_Q), scores_from_means(scoring, means_Q + 1)
    np.testing.assert_allclose(after_C, before_C, atol=1e-3)


@pytest.mark.parametrize(
    ("constant", "targets", "country", "loss"),
    [
        (50, "hofstede2010", "SA", 126),
        (50, "newer", "SA", 104),
        (50, "hofstede2010", "US", 109),
        (50, "newer", "US", 54),
        (50, "hofstede2010", "CN", 159),
        (50, "newer", "CN", 126),
        (50, "hofstede2010", "IN", 70),
        (0, "hofstede2010", "SA", 348),
        (0, "newer", "SA", 268),
        (0, "hofstede2010", "US", 333),
        (0, "newer", "US", 326),
        (0, "hofstede2010", "CN", 307),
        (0, "newer", "CN", 320),
        (0, "hofstede2010", "IN", 298),
    ],
)
def test_loss_of_a_constant_answer(constant, targets, country, loss):
    scores_C = jnp.asarray(score(make_scoring(VSM13, constant), one_answer(2)))
    assert float(distance(scores_C, target(targets, country), "l1")) == loss


def test_ranges_of_the_scores():
    scoring = make_scoring(VSM13, 0.0)
    widest_C = []
    for row_Q in scoring.weights_CQ:
        answers_QA = np.eye(5, dtype=np.float32)[np.where(row_Q > 0, 4, 0)]
        widest_C.append(score(scoring, answers_QA).max())
        np.testing.assert_array_equal(score(scoring, answers_QA[:, ::-1]).min(), -widest_C[-1])
    assert widest_C == [240, 280, 280, 260, 260, 300]


def test_never_clipped():
    scoring = make_scoring(VSM13, 50.0)
    answers_QA = np.eye(5, dtype=np.float32)[np.where(scoring.weights_CQ[0] > 0, 4, 0)]
    assert score(scoring, answers_QA)[0] == 290
    assert score(scoring, answers_QA[:, ::-1])[0] == -190


def test_many_answers_give_the_same_scores():
    weights_CQ = make_scoring(VSM13, 50.0).weights_CQ
    assert weights_CQ.shape[1] - np.linalg.matrix_rank(weights_CQ) == 18


def least_loss_of_one_respondent(constant: float, target_C: np.ndarray) -> float:
    """Exact: an item is in one dimension, so two differences from -4 to 4 are all it has."""
    total = 0.0
    for row_Q, value in zip(make_scoring(VSM13, constant).weights_CQ, target_C, strict=True):
        first, second = row_Q[row_Q > 0]
        differences = itertools.product(range(-4, 5), repeat=2)
        total += min(abs(constant + first * a + second * b - value) for a, b in differences)
    return total


@pytest.mark.parametrize(
    ("constant", "targets", "losses"),
    [
        (50, "hofstede2010", {"SA": 23, "CN": 24, "IN": 12, "US": 22}),
        (50, "newer", {"SA": 15, "CN": 26, "US": 25}),
        (0, "hofstede2010", {"SA": 23, "CN": 22, "IN": 31, "US": 26}),
        (0, "newer", {"SA": 27, "CN": 15, "US": 21}),
    ],
)
def test_one_respondent_in_whole_numbers_cannot_reach_a_target(constant, targets, losses):
    least = {code: least_loss_of_one_respondent(constant, target(targets, code)) for code in losses}
    assert least == losses
    assert all(12 <= loss <= 31 for loss in least.values())


@pytest.mark.parametrize(
    ("respondents", "low", "high"), [(1, 86, 106), (5, 38, 48), (20, 19, 24), (50, 12, 15)]
)
def test_sampling_error_of_an_index(respondents, low, high):
    weights_CQ = make_scoring(VSM13, 50.0).weights_CQ
    # A uniform answer from 1 to 5 has variance 2.
    expected_C = np.sqrt(2 * np.sum(weights_CQ**2, axis=1) / respondents)
    assert (round(expected_C.min()), round(expected_C.max())) == (low, high)
    draws = np.random.default_rng(respondents).integers(0, 5, (1500, respondents, 24))
    shares_NQA = np.eye(5, dtype=np.float32)[draws].mean(axis=1)
    seen_C = score(make_scoring(VSM13, 50.0), shares_NQA).std(axis=0)
    np.testing.assert_allclose(seen_C, expected_C, rtol=0.08)


def test_batches_equal_loops_and_vmap():
    scoring = make_scoring(VSM13, 50.0)
    shares = jnp.asarray(random_shares(3, 4, 3))
    together = score(scoring, shares)
    assert together.shape == (4, 3, 6)
    looped = np.stack([np.stack([score(scoring, one) for one in row]) for row in shares])
    np.testing.assert_allclose(together, looped, atol=1e-4)
    one = lambda answers_QA: scores_from_means(scoring, item_means(scoring, answers_QA))  # noqa: E731
    np.testing.assert_allclose(jax.vmap(jax.vmap(one))(shares), together, atol=1e-4)
    target_C = jnp.asarray(target("hofstede2010", "SA"))
    for norm in ("l1", "l2"):
        losses = distance(jnp.asarray(together), target_C, norm)
        assert losses.shape == (4, 3)
        np.testing.assert_allclose(
            losses[2, 1], distance(jnp.asarray(together[2, 1]), target_C, norm), rtol=1e-6
        )


def test_six_constants_shift_each_score_by_its_own():
    constants = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0)
    np.testing.assert_array_equal(score(make_scoring(VSM13, constants), one_answer(1)), constants)


@pytest.mark.parametrize("constants", [(1.0, 2.0), (1.0,) * 5, (1.0,) * 7, ((1.0,) * 6,) * 2])
def test_a_wrong_number_of_constants(constants):
    with pytest.raises(
        UserError, match=r"survey\.constant: .*PDI, IDV, MAS, UAI, LTO, IVR"
    ) as error:
        make_scoring(VSM13, constants)
    assert str(np.size(constants)) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_coefficient_set():
    with pytest.raises(UserError, match=r"survey\.coefficients='cat2025'.*manual, cat2024"):
        make_scoring(VSM13, 50.0, "cat2025")


@pytest.mark.parametrize("seed", range(3))
def test_distances_equal_scipy(seed):
    rng = np.random.default_rng(seed)
    scores_C, target_C = rng.uniform(-100, 200, (2, 6)).astype(np.float32)
    l1 = distance(jnp.asarray(scores_C), jnp.asarray(target_C), "l1")
    l2 = distance(jnp.asarray(scores_C), jnp.asarray(target_C), "l2")
    np.testing.assert_allclose(l1, scipy.spatial.distance.cityblock(scores_C, target_C), rtol=1e-5)
    np.testing.assert_allclose(l2, scipy.spatial.distance.euclidean(scores_C, target_C), rtol=1e-5)
    np.testing.assert_allclose(l2, np.linalg.norm(scores_C - target_C), rtol=1e-5)


def test_items_with_fewer_options_score_by_their_own_values():
    raw = {
        "name": "two",
        "title": "Two items",
        "instruction": "Answer.",
        "stems": {"s": "Stem."},
        "scales": {
            "long": list("abcde"),
            "short": {"options": list("xyz"), "values": [0, 2.5, 10]},
        },
        "items": [
            {"id": "p", "stem": "s", "scale": "long", "text": "P"},
            {"id": "q", "stem": "s", "scale": "short", "text": "Q"},
        ],
        "dimensions": {"K": "Kindness"},
        "coefficients": {"main": {"K": {"p": 2, "q": -3}}},
    }
    scoring = make_scoring(parse_instrument(raw, "two"), 1.0)
    np.testing.assert_array_equal(scoring.values_QA, [[1, 2, 3, 4, 5], [0, 2.5, 10, 0, 0]])
    answers_QA = np.array([[0, 0, 0, 1, 0], [0.5, 0.25, 0.25, 0, 0]], np.float32)
    # 2 * 4 - 3 * (0.25 * 2.5 + 0.25 * 10) + 1
    np.testing.assert_allclose(score(scoring, answers_QA), [8 - 9.375 + 1])
