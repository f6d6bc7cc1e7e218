"""The table of methods by country: counted by hand, and against scipy."""

import json
from typing import Any

import numpy as np
import pytest
from scipy import stats

from jaxalign.evidence.culturalbench import OVERALL, easy_rows, hard_rows
from jaxalign.evidence.statistics import bootstrap_mean
from jaxalign.survey import easy_correct, load_quizzes

EASY, HARD = load_quizzes("fixture")


def choices(seed: int, skill: float) -> np.ndarray:
    """Probabilities of a method that knows about so large a share of the questions."""
    rng = np.random.default_rng(seed)
    probabilities_QA = np.zeros((len(EASY.questions), 4))
    for row, question in zip(probabilities_QA, EASY.questions, strict=True):
        row[: len(question.options)] = rng.dirichlet(np.ones(len(question.options)))
        row[question.right] += rng.random() < skill
    return probabilities_QA / probabilities_QA.sum(axis=1, keepdims=True)


def judgements(right: int) -> np.ndarray:
    """p(True), right on all rows of the first `right` questions and wrong on one row of others."""
    seen = list(dict.fromkeys(row.question for row in HARD.questions))
    p_true_R = np.array([0.9 if row.answer else 0.2 for row in HARD.questions])
    for index, row in enumerate(HARD.questions):
        if seen.index(row.question) >= right and row.answer:
            p_true_R[index] = 0.3
    return p_true_R


METHODS = {"naive": choices(0, 0.2), "persona": choices(1, 0.4), "tuned": choices(2, 0.9)}
ROWS = easy_rows(EASY.questions, METHODS, own="China")


def row_of(rows: list[dict[str, Any]], country: str, method: str) -> dict[str, Any]:
    (row,) = [row for row in rows if (row["scope"], row["method"]) == (country, method)]
    return row


def test_a_row_for_each_country_and_method():
    countries = [OVERALL, "Saudi Arabia", "China", "India", "United States", "Germany", "Japan"]
    assert [(row["scope"], row["method"]) for row in ROWS] == [
        (country, method) for country in countries for method in METHODS
    ]
    counts = {row["scope"]: (row["n"], row["skipped"]) for row in ROWS}
    assert counts[OVERALL] == (20, 1) and counts["Germany"] == (2, 1) and counts["China"] == (4, 0)


def test_every_number_of_a_row():
    right_Q = np.array([question.right for question in EASY.questions])
    for row in ROWS:
        in_Q = np.array([row["scope"] in (OVERALL, q.country) for q in EASY.questions])
        own_Q, naive_Q = (
            easy_correct(METHODS[name], right_Q)[in_Q] for name in (row["method"], "naive")
        )
        accuracy, test = row["accuracy"], row["mcnemar"]
        assert accuracy == pytest.approx(own_Q.mean())
        assert (row["low"], row["high"]) == bootstrap_mean(own_Q, 0)
        assert row["wilson_low"] < accuracy + 1e-12 and accuracy - 1e-12 < row["wilson_high"]
        if row["method"] == "naive":
            assert test is None
            continue
        assert (test["b"], test["c"]) == ((own_Q & ~naive_Q).sum(), (naive_Q & ~own_Q).sum())
        changed = test["b"] + test["c"]
        expected = stats.binomtest(test["b"], changed).pvalue if changed else 1.0
        assert test["p"] == pytest.approx(expected)


def families(rows: list[dict[str, Any]], *planned: str) -> list[list[dict[str, float]]]:
    """The tests of the planned countries, and those of all others."""
    tested = [row for row in rows if row["mcnemar"]]
    return [
        [row["mcnemar"] for row in tested if (row["scope"] in planned) is wanted]
        for wanted in (True, False)
    ]


@pytest.mark.parametrize(
    ("own", "planned"),
    [("China", [OVERALL, "China"]), ("", [OVERALL]), ("USA", [OVERALL, "United States"])],
)
def test_what_was_asked_from_the_start_pays_for_nothing_else(own, planned):
    sizes = []
    for family in families(easy_rows(EASY.questions, METHODS, own=own), *planned):
        sizes.append(len(family))
        least = min(family, key=lambda test: test["p"])
        assert least["p_holm"] == pytest.approx(min(1, len(family) * least["p"]))
        assert all(test["p"] <= test["p_holm"] <= 1 for test in family)
    assert sizes == [2 * len(planned), 14 - 2 * len(planned)]


def test_chance_is_what_guessing_with_the_options_there_are_scores():
    assert row_of(ROWS, "China", "naive")["chance"] == 1 / 4
    assert row_of(ROWS, "Germany", "naive")["chance"] == pytest.approx((1 / 3 + 1 / 4) / 2)
    rows = hard_rows(HARD.questions, {"naive": judgements(0)})
    assert row_of(rows, "China", "naive")["chance"] == 1 / 16
    assert row_of(rows, "Germany", "naive")["chance"] == pytest.approx((1 / 8 + 1 / 16) / 2)
    rng = np.random.default_rng(0)
    guessed = [
        hard_rows(HARD.questions, {"naive": rng.random(79)})[0]["accuracy"] for _ in range(100)
    ]
    assert np.mean(guessed) == pytest.approx(row_of(rows, OVERALL, "naive")["chance"], abs=0.02)


def test_hard_counts_questions_and_not_rows():
    methods = {"naive": judgements(5), "tuned": judgements(16)}
    rows = hard_rows(HARD.questions, methods)
    naive, tuned = (row_of(rows, OVERALL, name) for name in methods)
    assert (naive["n"], naive["accuracy"], tuned["accuracy"]) == (20, 5 / 20, 16 / 20)
    test = tuned["mcnemar"]
    assert (test["b"], test["c"], tuned["skipped"]) == (11, 0, 1)
    assert test["p"] == pytest.approx(2 / 2**11) and test["p_holm"] == test["p"]
    saudi = row_of(rows, "Saudi Arabia", "naive")
    assert (saudi["accuracy"], saudi["low"], saudi["high"]) == (1, 1, 1)
    assert saudi["wilson_low"] < 0.6


def test_rows_survive_json():
    assert json.loads(json.dumps(ROWS, allow_nan=False)) == ROWS
