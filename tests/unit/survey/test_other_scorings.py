"""Means, reversed items and ipsatised scores, against the arithmetic done person by person."""

import copy
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.survey import (
    distance_to_target,
    item_means,
    load_instrument,
    make_scoring,
    null_baseline,
    parse_instrument,
    score_answers,
    scores_from_means,
    targets_for,
)

VALUES = load_instrument("example_values")
LINEAR: dict[str, Any] = {
    "name": "own",
    "title": "Own",
    "instruction": "Answer.",
    "stems": {"s": "Stem."},
    "scales": {"five": list("abcde"), "seven": list("abcdefg"), "kinds": list("xy")},
    "items": [
        {"id": "a", "stem": "s", "scale": "five", "text": "A"},
        {"id": "b", "stem": "s", "scale": "five", "text": "B", "reverse": True},
        {"id": "c", "stem": "s", "scale": "five", "text": "C", "reverse": False},
    ],
    "dimensions": {"X": "First", "Y": "Second"},
    "coefficients": {"main": {"X": ["a", "b"], "Y": {"b": 2, "c": -0.5}}},
}


def changed(base: dict, *path: Any, to: Any) -> dict:
    raw = copy.deepcopy(base)
    place: Any = raw
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return raw


def respondents(seed: int, count: int, items: int) -> np.ndarray:
    """Chosen options, from 0, of so many persons."""
    return np.random.default_rng(seed).integers(0, 5, (count, items))


def shares(chosen_NQ: np.ndarray) -> np.ndarray:
    return np.eye(5, dtype=np.float32)[chosen_NQ].mean(axis=0)


def by_hand(chosen_NQ: np.ndarray, correct: bool) -> dict[str, float]:
    """Schwartz's steps, one respondent after the other: recode, take the mean off, average."""
    formulas = {
        "SELF": ["v01", "v02", "v03"],
        "CARE": ["v04", "v05"],
        "TRAD": ["v06", "v07"],
        "RISE": ["v08", "v09", "v10"],
    }
    sums = dict.fromkeys(formulas, 0.0)
    for chosen in chosen_NQ:
        answers = {f"v{number + 1:02d}": int(option) + 1 for number, option in enumerate(chosen)}
        answers["v03"] = 6 - answers["v03"]
        mean = sum(answers.values()) / 10 if correct else 0.0
        for key, items in formulas.items():
            sums[key] += sum(answers[item] - mean for item in items) / len(items)
    return {key: total / len(chosen_NQ) for key, total in sums.items()}


@pytest.mark.parametrize("count", [1, 7, 100])
def test_ipsatised_scores_equal_the_mean_over_corrected_respondents(count):
    chosen_NQ = respondents(count, count, 10)
    scores_C = score_answers(make_scoring(VALUES), jnp.asarray(shares(chosen_NQ)))
    expected = by_hand(chosen_NQ, correct=True)
    assert list(VALUES.dimensions) == list(expected)
    np.testing.assert_allclose(scores_C, list(expected.values()), atol=2e-5)
    assert abs(sum(expected.values())) > 1e-3  # only the sum over items is 0
    np.testing.assert_allclose(np.dot([3, 2, 2, 3], scores_C), 0, atol=1e-4)


def test_without_ipsatising_the_same_file_gives_plain_means():
    raw = {"dimensions": VALUES.dimensions, "coefficients": VALUES.coefficients}
    assert raw["coefficients"]["means"]["CARE"] == {"v04": 0.5, "v05": 0.5}
    chosen_NQ = respondents(3, 20, 10)
    plain = VALUES.__class__(**{**vars(VALUES), "scoring": "linear"})
    scores_C = score_answers(make_scoring(plain), jnp.asarray(shares(chosen_NQ)))
    np.testing.assert_allclose(scores_C, [*by_hand(chosen_NQ, correct=False).values()], rtol=1e-5)


def test_who_likes_everything_more_scores_the_same():
    unreversed = [index for index, item in enumerate(VALUES.items) if item.id != "v03"]
    chosen_NQ = np.random.default_rng(0).integers(0, 4, (30, 10))
    more_NQ = chosen_NQ.copy()
    more_NQ[:, unreversed] += 1
    more_NQ[:, 2] = np.maximum(chosen_NQ[:, 2] - 1, 0)
    moved = chosen_NQ[:, 2] > 0
    scores = [
        score_answers(make_scoring(VALUES), jnp.asarray(shares(each[moved])))
        for each in (chosen_NQ, more_NQ)
    ]
    np.testing.assert_allclose(*scores, atol=1e-5)


def test_sums_means_and_reversed_items_by_hand():
    own = parse_instrument(LINEAR, "own.yaml")
    assert own.items[1].values == (5, 4, 3, 2, 1)
    means_Q = jnp.array([2.0, 3.5, 4.0])  # of what was recoded
    scoring = make_scoring(own)
    np.testing.assert_allclose(scores_from_means(scoring, means_Q), [2.75, 5.0], rtol=1e-6)
    answers_QA = np.eye(5, dtype=np.float32)[[0, 0, 4]]
    np.testing.assert_array_equal(item_means(scoring, answers_QA), [1, 5, 5])
    np.testing.assert_allclose(score_answers(scoring, answers_QA), [3, 7.5], rtol=1e-6)


def test_a_reversed_item_on_uneven_values_keeps_its_ends():
    scale = {"options": list("abc"), "values": [0, 1, 10]}
    own = parse_instrument(changed(LINEAR, "scales", "five", to=scale), "own.yaml")
    assert own.items[0].values == (0, 1, 10) and own.items[1].values == (10, 9, 0)


@pytest.mark.parametrize(
    ("constant", "given", "expected"),
    [
        (None, None, [0, 0]),
        (7, None, [7, 7]),
        ([1, -2.5], None, [1, -2.5]),
        (7, "", [7, 7]),
        (7, 0.0, [0, 0]),
        (7, (3, 4), [3, 4]),
    ],
)
def test_the_constant_is_the_files_unless_the_config_has_one(constant, given, expected):
    raw = LINEAR if constant is None else changed(LINEAR, "constant", to=constant)
    scoring = make_scoring(parse_instrument(raw, "own.yaml"), given)
    np.testing.assert_array_equal(scoring.constant_C, expected)


def test_vsm13_has_50_of_its_own():
    np.testing.assert_array_equal(make_scoring(load_instrument("vsm13")).constant_C, np.full(6, 50))
    np.testing.assert_array_equal(make_scoring(VALUES).constant_C, np.zeros(4))


def test_what_scores_are_without_knowing_anything():
    vsm13 = make_scoring(load_instrument("vsm13"), 20.0)
    name, scores_C = null_baseline(load_instrument("vsm13"), vsm13)
    assert name == "constant answer"
    np.testing.assert_array_equal(scores_C, np.full(6, 20.0))

    # One answer to ten items of which one is reversed: it matters which one.
    scoring = make_scoring(VALUES)
    name, scores_C = null_baseline(VALUES, scoring)
    assert name == "uniform answers"
    np.testing.assert_allclose(scores_C, np.zeros(4), atol=1e-6)
    same_QA = np.eye(5, dtype=np.float32)[np.full(10, 4)]
    assert np.abs(score_answers(scoring, same_QA)).max() > 0.5

    # Plain means on a scale from 1 to 5 give 3; on one from 1 to 7, 4.
    own = parse_instrument(LINEAR, "own.yaml")
    name, scores_C = null_baseline(own, make_scoring(own))
    assert name == "uniform answers"
    np.testing.assert_allclose(scores_C, [3, 4.5], rtol=1e-6)
    own = parse_instrument(changed(LINEAR, "items", 0, "scale", to="seven"), "own.yaml")
    np.testing.assert_allclose(null_baseline(own, make_scoring(own))[1], [3.5, 4.5], rtol=1e-6)


def test_the_packaged_example_can_be_reached_and_is_called_invented():
    targets = targets_for(VALUES, "example_values")
    assert list(targets) == ["SA", "CN", "IN", "US"]
    for target in targets.values():
        assert "invented" in target.source
        assert np.dot([3, 2, 2, 3], [*target.scores.values()]) == pytest.approx(0, abs=1e-9)
    assert not VALUES.validated and "invented" in VALUES.notice
    scores_C = jnp.zeros(4)
    target_GC = np.array([[*target.scores.values()] for target in targets.values()])
    losses_G = distance_to_target(make_scoring(VALUES), scores_C, target_GC, "l1")
    np.testing.assert_allclose(losses_G, np.abs(target_GC).sum(axis=1), rtol=1e-6)


def test_ipsatising_may_count_an_item_that_no_dimension_uses():
    raw = changed(LINEAR, "coefficients", "main", "Y", to=["b"])
    with pytest.raises(UserError, match="item c: no dimension uses it"):
        parse_instrument(raw, "own.yaml")
    own = parse_instrument(raw | {"scoring": "ipsatised"}, "own.yaml")
    weights_CQ = make_scoring(own).weights_CQ
    np.testing.assert_allclose(weights_CQ[1], [-1 / 3, 2 / 3, -1 / 3], rtol=1e-6)


SHARES = {key: value for key, value in LINEAR.items() if key not in ("dimensions", "coefficients")}
SHARES |= {"scoring": "distribution", "items": [LINEAR["items"][0], LINEAR["items"][2]]}
SHARES["items"] = [{k: v for k, v in item.items() if k != "reverse"} for item in SHARES["items"]]
NOMINAL = {"options": ["x", "y"], "nominal": True}


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (changed(LINEAR, "scoring", to="rasch"), "scoring 'rasch' is not one of linear, ipsatised"),
        (changed(LINEAR, "scoring", to=["linear"]), "scoring ['linear'] is not one of"),
        (changed(LINEAR, "scoring", to=None), "scoring None is not one of"),
        (changed(LINEAR, "constant", to="50"), "constant must be a finite number or a list of 2"),
        (changed(LINEAR, "constant", to=[1]), "constant must be a finite number or a list of 2"),
        (changed(LINEAR, "constant", to=[1, True]), "constant must be a finite number or a list"),
        (changed(LINEAR, "score_range", to=[5, 1]), "score_range must be a list of two numbers"),
        (changed(LINEAR, "score_range", to=5), "score_range must be a list of two numbers"),
        (changed(LINEAR, "notice", to=3), "notice must be a text, not 3"),
        (changed(LINEAR, "items", 0, "reverse", to="yes"), "item a: reverse must be true or false"),
        (changed(LINEAR, "scales", "five", to=NOMINAL), "item a: scale 'five' is nominal"),
        (
            changed(LINEAR, "scales", "kinds", to=NOMINAL | {"nominal": "no"}),
            "scales.kinds: nominal must be true or false, not 'no'",
        ),
        (
            changed(LINEAR, "scales", "kinds", to=NOMINAL | {"values": [1, 2]}),
            "scales.kinds: nominal options have no order, so leave out values",
        ),
        (changed(LINEAR, "coefficients", "main", "X", to=[]), "main.X must map item ids to"),
        (changed(LINEAR, "coefficients", "main", "X", to=["a", 3]), "or list the items of a mean"),
        (changed(LINEAR, "coefficients", "main", "X", to=["a", "z"]), "there is no item 'z'"),
        (changed(LINEAR, "coefficients", "main", "X", to=["a", "a", "b"]), "appears twice in the"),
        (
            changed(LINEAR, "items", 0, "scale", to="seven") | {"scoring": "ipsatised"},
            "one mean over all items, whose scales go 1 to 5, 1 to 7",
        ),
        (changed(SHARES, "dimensions", to={"X": "x"}), "dimensions: scoring distribution compares"),
        (changed(SHARES, "coefficients", to={}), "coefficients: scoring distribution compares"),
        (changed(SHARES, "constant", to=50), "constant: scoring distribution compares"),
        (changed(SHARES, "score_range", to=[0, 1]), "score_range: scoring distribution compares"),
        (changed(SHARES, "items", 1, "reverse", to=True), "item c: reverse turns values round"),
        (changed(SHARES, "items", 1, "id", to="c=d"), "item c=d: with scoring distribution an id"),
        (
            changed(SHARES, "scales", "five", to={"options": ["x", "y"], "values": [2, 2]}),
            "item a: the values of scale 'five' are all alike",
        ),
    ],
)
def test_a_single_fault_is_named(raw, named):
    with pytest.raises(UserError) as error:
        parse_instrument(raw, "own.yaml")
    message = str(error.value)
    assert named in message
    assert message.startswith("own.yaml: ") and "\n" not in message


def test_the_good_ones_are_good_and_all_faults_are_told():
    assert parse_instrument(LINEAR, "own.yaml").scoring == "linear"
    assert parse_instrument(SHARES, "own.yaml").scoring == "distribution"
    raw = changed(SHARES, "items", 0, "reverse", to=True) | {"constant": 1, "validated": 2}
    with pytest.raises(UserError, match=r"constant: .*; validated .*; item a: reverse turns"):
        parse_instrument(raw, "own.yaml")
