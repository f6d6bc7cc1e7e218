"""CulturalBench's scores against files scored by hand."""

import numpy as np
import pytest

from jaxalign.survey import easy_correct, hard_correct, hard_questions, load_quizzes

HARD = """data_idx,question_idx,prompt_question,prompt_option,answer,country
0,1,Which drink?,tea,True,Xanadu
1,1,Which drink?,milk,False,Xanadu
2,1,Which drink?,sand,False,Xanadu
3,1,Which drink?,air,False,Xanadu
4,2,Which hat?,fez,False,Xanadu
5,2,Which hat?,cap,True,Xanadu
6,2,Which hat?,,False,Xanadu
7,2,Which hat?,crown,False,Xanadu
8,3,Which day?,Monday,True,Peru
9,3,Which day?,Tuesday,False,Peru
10,3,Which day?,Friday,False,Peru
11,3,Which day?,Sunday,False,Peru
12,4,Which fruit?,figs,False,Peru
13,4,Which fruit?,plums,False,Peru
14,4,Which fruit?,limes,False,Peru
15,4,Which fruit?,dates,True,Peru
"""
# Judged by hand: question 1 wholly right; 2 right in the three rows that there are; 3 wrong in its
# last row; 4 undecided in one.
P_TRUE_R = [0.9, 0.1, 0.4, 0.0, 0.2, 0.51, 0.49, 0.8, 0.1, 0.3, 0.7, 0.1, 0.5, 0.2, 0.6]


def test_a_hard_file_by_hand(tmp_path):
    (tmp_path / "hard.csv").write_text(HARD, encoding="utf-8")
    _, hard = load_quizzes(str(tmp_path / "hard.csv"))
    rows = hard.questions
    answer_R, question_R = [row.answer for row in rows], [row.question for row in rows]
    assert list(hard_questions(rows)) == ["1", "2", "3", "4"]
    assert [len(same) for same in hard_questions(rows).values()] == [4, 3, 4, 4]
    correct_Q = hard_correct(P_TRUE_R, answer_R, question_R)
    assert correct_Q.dtype == bool and correct_Q.tolist() == [True, True, False, False]


def test_three_of_four_rows_are_not_enough():
    answer_R, question_R = [True, False, False, False], ["q"] * 4
    assert hard_correct([0.9, 0.1, 0.1, 0.1], answer_R, question_R).tolist() == [True]
    for row in range(4):
        for instead in (0.5, np.nan):
            p_true_R = np.array([0.9, 0.1, 0.1, 0.1])
            p_true_R[row] = instead
            assert hard_correct(p_true_R, answer_R, question_R).tolist() == [False]


@pytest.mark.parametrize("seed", range(3))
def test_hard_is_all_over_the_rows_in_any_order(seed):
    rng = np.random.default_rng(seed)
    question_R = rng.permutation(np.repeat([f"q{n}" for n in range(8)], 4)).tolist()
    answer_R, p_true_R = rng.random(32) < 0.25, rng.random(32)
    p_true_R = np.where(rng.random(32) < 0.8, np.where(answer_R, 0.9, 0.1), p_true_R)
    expected = [
        all(
            (p_true_R[row] > 0.5) == answer_R[row]
            for row in range(32)
            if question_R[row] == question
        )
        for question in dict.fromkeys(question_R)
    ]
    assert hard_correct(p_true_R, answer_R, question_R).tolist() == expected
    assert len(set(expected)) == 2


def test_easy_by_hand():
    probabilities_QA = np.array(
        [
            [0.7, 0.1, 0.1, 0.1],  # right
            [0.2, 0.3, 0.5, 0.0],  # right: 1, but 2 is likelier
            [0.1, 0.1, 0.4, 0.4],  # right: 3, a tie: no answer
            [0.25, 0.25, 0.25, 0.25],
            [np.nan, np.nan, np.nan, np.nan],
            [0.2, 0.3, 0.5, 0.0],  # right
        ],
        np.float32,
    )
    before = probabilities_QA.copy()
    correct_Q = easy_correct(probabilities_QA, np.array([0, 1, 3, 0, 2, 2]))
    assert correct_Q.dtype == bool
    assert correct_Q.tolist() == [True, False, False, False, False, True]
    np.testing.assert_array_equal(probabilities_QA, before)


def test_easy_is_the_argmax_where_nothing_ties():
    rng = np.random.default_rng(0)
    probabilities_QA, right_Q = rng.dirichlet(np.ones(4), 200), rng.integers(0, 4, 200)
    np.testing.assert_array_equal(
        easy_correct(probabilities_QA, right_Q), probabilities_QA.argmax(axis=1) == right_Q
    )
