"""The table of methods by country: counted by hand, and against scipy."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest
from scipy import stats

from jaxalign.evidence.culturalbench import OVERALL, QuizRow, easy_rows, hard_rows
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
ROWS = easy_rows(EASY.questions, METHODS, "naive", own="China")


def row_of(rows: list[QuizRow], country: str, method: str) -> QuizRow:
    (row,) = [row for row in rows if (row.country, row.method) == (country, method)]
    return row


def test_a_row_for_each_country_and_method():
    countries = [OVERALL, "Saudi Arabia", "China", "India", "United States", "Germany", "Japan"]
    assert [(row.country, row.method) for row in ROWS] == [
        (country, method) for country in countries for method in METHODS
    ]
    counts = {row.country: (row.questions, row.skipped) for row in ROWS}
    assert counts[OVERALL] == (20, 1) and counts["Germany"] == (2, 1) and counts["China"] == (4, 0)


def test_every_number_of_a_row():
    right_Q = np.array([question.right for question in EASY.questions])
    for row in ROWS:
        in_Q = np.array([row.country in (OVERALL, q.country) for q in EASY.questions])
        own_Q, naive_Q = (
            easy_correct(METHODS[name], right_Q)[in_Q] for name in (row.method, "naive")
        )
        assert row.right == own_Q.sum() and row.accuracy == pytest.approx(own_Q.mean())
        assert row.low <= row.accuracy <= row.high
        assert row.wilson_low < row.accuracy + 1e-12 and row.accuracy - 1e-12 < row.wilson_high
        if row.method == "naive":
            assert row.versus is row.p is row.difference is row.p_holm is None
            continue
        assert row.difference == pytest.approx(own_Q.mean() - naive_Q.mean())
        assert row.difference_low <= row.difference <= row.difference_high
        assert (row.gained, row.lost) == ((own_Q & ~naive_Q).sum(), (naive_Q & ~own_Q).sum())
        changed = row.gained + row.lost
        expected = stats.binomtest(row.gained, changed).pvalue if changed else 1.0
        assert row.p == pytest.approx(expected)


def test_what_was_asked_from_the_start_pays_for_nothing_else():
    family = [row_of(ROWS, country, m) for country in (OVERALL, "China") for m in METHODS]
    planned = [row for row in family if row.p is not None]
    assert {row.comparisons for row in planned} == {4}
    assert min(row.p_holm for row in planned) == pytest.approx(4 * min(row.p for row in planned))
    others = [row for row in ROWS if row.p is not None and row not in planned]
    assert {row.comparisons for row in others} == {10}
    assert all(row.p <= row.p_holm <= 1 for row in planned + others)
    without = easy_rows(EASY.questions, METHODS, "naive")
    assert row_of(without, OVERALL, "tuned").comparisons == 2
    assert row_of(without, "China", "tuned").comparisons == 12
    american = easy_rows(EASY.questions, METHODS, "naive", own="USA")
    assert row_of(american, "United States", "tuned").comparisons == 4


def test_chance_is_what_guessing_with_the_options_there_are_scores():
    assert row_of(ROWS, "China", "naive").chance == 1 / 4
    assert row_of(ROWS, "Germany", "naive").chance == pytest.approx((1 / 3 + 1 / 4) / 2)
    rows = hard_rows(HARD.questions, {"naive": judgements(0)}, "naive")
    assert row_of(rows, "China", "naive").chance == 1 / 16
    assert row_of(rows, "Germany", "naive").chance == pytest.approx((1 / 8 + 1 / 16) / 2)
    rng = np.random.default_rng(0)
    guessed = [
        hard_rows(HARD.questions, {"guess": rng.random(79)}, "guess")[0].accuracy
        for _ in range(100)
    ]
    assert np.mean(guessed) == pytest.approx(row_of(rows, OVERALL, "naive").chance, abs=0.02)


def test_hard_counts_questions_and_not_rows():
    methods = {"naive": judgements(5), "tuned": judgements(16)}
    rows = hard_rows(HARD.questions, methods, "naive")
    naive, tuned = (row_of(rows, OVERALL, name) for name in methods)
    assert (naive.form, naive.questions, naive.right, tuned.right) == ("hard", 20, 5, 16)
    assert (tuned.gained, tuned.lost, tuned.skipped) == (11, 0, 1)
    assert tuned.p == pytest.approx(2 / 2**11) and tuned.p_holm == tuned.p
    saudi = row_of(rows, "Saudi Arabia", "naive")
    assert (saudi.right, saudi.low, saudi.high) == (4, 1, 1) and saudi.wilson_low < 0.6


def test_rows_survive_json_and_csv():
    dicts = [dataclasses.asdict(row) for row in ROWS]
    assert json.loads(json.dumps(dicts, allow_nan=False)) == dicts
    file = io.StringIO()
    writer = csv.DictWriter(file, dicts[0])
    writer.writeheader()
    writer.writerows(dicts)
    read = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert read[0]["p"] == "" and float(read[1]["p"]) == ROWS[1].p


def test_seeds_move_intervals_alone():
    again = easy_rows(EASY.questions, METHODS, "naive", own="China", seed=0)
    other = easy_rows(EASY.questions, METHODS, "naive", own="China", seed=1)
    assert again == ROWS != other
    assert [row.p_holm for row in other] == [row.p_holm for row in ROWS]
