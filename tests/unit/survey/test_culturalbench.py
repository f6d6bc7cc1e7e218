"""The quiz's file as it is published, its faults, and its scores by hand."""

import collections
import csv
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from paths import ROOT

from jaxalign.errors import UserError
from jaxalign.survey import (
    QUIZ_LABELS,
    SMALLEST_PROBABILITY,
    Quiz,
    accuracy,
    load_quiz,
    load_targets,
    log_likelihood,
    questions_for,
    same_country,
)

HEADER = (
    "question_idx,prompt_question,prompt_option_a,prompt_option_b,prompt_option_c,"
    "prompt_option_d,answer,country"
)
ROW = "7,What is brewed?,tea,milk,sand,air,A,Xanadu"
KEYS = ("PDI", "IDV", "MAS", "UAI", "LTO", "IVR")


@pytest.fixture(scope="module")
def fixture() -> Quiz:
    return load_quiz("fixture")


def write(folder: Path, *lines: str, encoding: str = "utf-8") -> str:
    path = folder / "easy.csv"
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return str(path)


def with_cells(**cells: str) -> str:
    """The row with some cells replaced."""
    row = dict(zip(HEADER.split(","), ROW.split(","), strict=True))
    assert cells.keys() <= row.keys()
    return ",".join((row | cells).values())


def fault(path: str) -> str:
    with pytest.raises(UserError) as error:
        load_quiz(path)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


# Reading


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])  # spreadsheets write the second
def test_a_file_in_the_published_format(tmp_path, encoding):
    path = write(tmp_path, HEADER, ROW, with_cells(question_idx="8", answer="C"), encoding=encoding)
    quiz = load_quiz(path)
    first, second = quiz.questions
    assert (first.id, first.country, first.text) == ("7", "Xanadu", "What is brewed?")
    assert first.options == ("tea", "milk", "sand", "air")
    assert (first.right, second.right) == (0, 2)
    assert (quiz.source, quiz.skipped_options) == (path, 0)
    assert not quiz.fixture and quiz.notice is None


def test_other_columns_another_order_empty_lines_and_spaces(tmp_path):
    row = dict(zip(HEADER.split(","), ROW.split(","), strict=True))
    names = ["data_idx", *reversed(row)]
    path = write(
        tmp_path, ",".join(names), "", ",".join(["0", *(f" {row[n]} " for n in names[1:])])
    )
    (question,) = load_quiz(path).questions
    assert (question.id, question.options[question.right]) == ("7", "tea")


def test_commas_and_line_breaks_within_quotes(tmp_path):
    row = with_cells(prompt_question='"What,\nif so, is brewed?"', prompt_option_b='"milk\nand"')
    (question,) = load_quiz(write(tmp_path, HEADER, row)).questions
    assert question.text == "What, if so, is brewed?"
    assert question.options[1] == "milk and"  # a line of its own would look like an option


def test_empty_options_are_skipped_and_counted(tmp_path):
    rows = (
        with_cells(question_idx="1", prompt_option_d=""),
        with_cells(question_idx="2", prompt_option_b=" ", answer="C"),
        with_cells(question_idx="3", prompt_option_a="", prompt_option_c="", answer="D"),
    )
    quiz = load_quiz(write(tmp_path, HEADER, *rows))
    assert quiz.skipped_options == 4
    read = [(question.options, question.options[question.right]) for question in quiz.questions]
    assert read == [
        (("tea", "milk", "sand"), "tea"),
        (("tea", "sand", "air"), "sand"),
        (("milk", "air"), "air"),
    ]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"answer": "E"}, "answer 'E' is not one of A, B, C, D"),
        ({"answer": "a"}, "answer 'a' is not one of"),
        ({"answer": "True"}, "answer 'True' is not one of"),
        ({"answer": ""}, "no answer"),
        ({"prompt_option_a": ""}, "answer 'A' names an empty option, prompt_option_a"),
        (
            {"prompt_option_b": "", "prompt_option_c": "", "prompt_option_d": ""},
            "1 options; a choice needs at least two",
        ),
        ({"prompt_question": " "}, "no prompt_question"),
        ({"country": "", "question_idx": ""}, "no question_idx, country"),
        ({"question_idx": "1"}, "question_idx '1' appears twice"),
        ({"prompt_option_a": "tea, hot"}, "9 cells where the header has 8"),
    ],
)
def test_a_fault_is_named_with_file_and_row(tmp_path, cells, said):
    # Row 3 is an empty line: rows are counted as a spreadsheet does.
    path = write(tmp_path, HEADER, with_cells(question_idx="1"), "", with_cells(**cells))
    message = fault(path)
    assert message.startswith(f"{path}: row 4")
    assert said in message


def test_a_row_that_ends_early(tmp_path):
    assert "row 2 has 6 cells" in fault(write(tmp_path, HEADER, ROW.rsplit(",", 2)[0]))


def test_missing_columns_are_all_named(tmp_path):
    hard = "data_idx,question_idx,prompt_question,prompt_option,answer,country"
    message = fault(write(tmp_path, hard, "0,7,What is brewed?,tea,True,Xanadu"))
    assert "prompt_option_a, prompt_option_b, prompt_option_c, prompt_option_d of" in message
    assert "CulturalBench-Easy" in message
    assert "answer" not in message


@pytest.mark.parametrize("lines", [[], [HEADER]])
def test_a_file_without_questions(tmp_path, lines):
    assert "no questions" in fault(write(tmp_path, *lines))


@pytest.mark.parametrize("name", ["nowhere.csv", "~no-such-user-here/easy.csv", "", "a\0b"])
def test_a_file_that_is_not_there(name):
    message = fault(name)
    assert "cannot read" in message
    assert "give fixture or" in message


def test_what_is_no_csv(tmp_path):
    (tmp_path / "bytes.parquet").write_bytes(b"PAR1\xff\xfe\x00c")
    assert "cannot read" in fault(str(tmp_path / "bytes.parquet"))
    # Without the check the open quote would swallow the rest of the file.
    assert "cannot read" in fault(write(tmp_path, HEADER, ROW.replace("tea", '"tea'), ROW))


# The fixture


def test_the_fixture_says_what_it_is(fixture):
    assert fixture.fixture and fixture.source == "fixture"
    assert "nothing about CulturalBench" in fixture.notice
    assert f"{len(fixture.questions)} questions" in fixture.notice
    assert all(question.id.startswith("fixture-") for question in fixture.questions)


def test_the_fixture_rewards_no_letter(fixture):
    counts = collections.Counter(question.country for question in fixture.questions)
    four = ("Saudi Arabia", "China", "India", "United States")
    assert counts == dict.fromkeys(four, 4) | {"Germany": 2, "Japan": 2}
    for country in four:
        assert sorted(question.right for question in questions_for(fixture, country)) == [
            0,
            1,
            2,
            3,
        ]
    assert fixture.skipped_options == 1
    assert {len(question.options) for question in fixture.questions} == {3, 4}


def test_the_fixture_names_its_country_and_has_no_equal_options(fixture):
    for question in fixture.questions:
        assert question.country in question.text
        assert len(set(question.options)) == len(question.options) <= len(QUIZ_LABELS)


# Countries


@pytest.mark.parametrize(
    "name", ["United States", "UNITED STATES", "USA", "us", "U.S.", "U.S.A.", "the United States "]
)
def test_a_country_by_its_usual_names(fixture, name):
    found = questions_for(fixture, name)
    assert [question.id for question in found] == [f"fixture-us-{n}" for n in range(1, 5)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Great Britain", "United Kingdom", True),  # our targets say the first
        ("UK", "the United Kingdom", True),
        ("Türkiye", "Turkey", True),
        ("South Korea", "Korea", True),
        ("China", "India", False),
        ("Niger", "Nigeria", False),
        ("Guinea", "New Guinea", False),
    ],
)
def test_two_names_of_a_country(one, other, same):
    assert same_country(one, other) is same_country(other, one) is same


def test_an_unknown_country_lists_those_there_are(fixture):
    with pytest.raises(UserError, match="country='Peru': no question in fixture") as error:
        questions_for(fixture, "Peru")
    assert str(error.value).endswith("China, Germany, India, Japan, Saudi Arabia, United States")


def test_the_countries_of_the_fixture_have_targets_of_the_same_name(fixture):
    targets = load_targets("hofstede2010", KEYS)
    for code, count in {"SA": 4, "CN": 4, "IN": 4, "US": 4, "DE": 2, "JP": 2}.items():
        assert len(questions_for(fixture, targets[code].country)) == count


# Scores


ANSWERS_BA = np.array(
    [
        [0.7, 0.1, 0.1, 0.1],  # right: 0
        [0.2, 0.3, 0.5, 0.0],  # right: 1, of three options
        [0.1, 0.1, 0.4, 0.4],  # right: 3, as likely as another
        [0.0, 1.0, 0.0, 0.0],  # right: 2, given no chance at all
    ],
    np.float32,
)
RIGHT_B = np.array([0, 1, 3, 2], np.int32)
# All four; the first two; the last; none; the first and third.
ASKED_GB = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 0, 1, 0]], bool)


def test_scores_by_hand():
    tiny = math.log(SMALLEST_PROBABILITY)
    logs = [math.log(0.7), math.log(0.3), math.log(0.4), tiny]
    np.testing.assert_allclose(
        accuracy(ANSWERS_BA, RIGHT_B, ASKED_GB), [1.5 / 4, 1 / 2, 0, 0, 1.5 / 2], rtol=1e-6
    )
    np.testing.assert_allclose(
        log_likelihood(ANSWERS_BA, RIGHT_B, ASKED_GB.astype(np.float32)),
        [sum(logs) / 4, (logs[0] + logs[1]) / 2, tiny, 0, (logs[0] + logs[2]) / 2],
        rtol=1e-6,
    )


def test_answering_all_alike_scores_at_chance_and_no_better():
    equal_BA = np.where([[True] * 4] * 3 + [[True] * 3 + [False]], 0.25, 0).astype(np.float32)
    asked_GB = np.eye(4, dtype=np.float32)
    for right_B in (np.zeros(4, np.int32), np.array([3, 2, 1, 2], np.int32)):
        np.testing.assert_allclose(
            accuracy(equal_BA, right_B, asked_GB), [1 / 4, 1 / 4, 1 / 4, 1 / 3], rtol=1e-6
        )


@pytest.mark.parametrize("score", [accuracy, log_likelihood])
def test_batches_equal_loops_under_jit(score):
    rng = np.random.default_rng(0)
    answers_XYBA = rng.dirichlet(np.ones(4), (2, 3, 6)).astype(np.float32)
    right_B, asked_GB = rng.integers(0, 4, 6), rng.random((3, 6)) < 0.5
    scores_XYG = jax.jit(score)(answers_XYBA, right_B, asked_GB)
    assert scores_XYG.dtype == jnp.float32
    for x, y, g in np.ndindex(2, 3, 3):
        values = []
        for b in np.flatnonzero(asked_GB[g]):
            row, right = answers_XYBA[x, y, b], right_B[b]
            hit = float(np.argmax(row) == right)
            values.append(hit if score is accuracy else math.log(row[right]))
        expected = np.mean(values) if values else 0.0
        np.testing.assert_allclose(scores_XYG[x, y, g], expected, rtol=1e-5)


@pytest.mark.parametrize("score", [accuracy, log_likelihood])
def test_failed_answers_fail_their_own_country_alone(score):
    answers_BA = ANSWERS_BA.copy()
    answers_BA[0] = np.nan
    failed_G = np.isnan(score(answers_BA, RIGHT_B, ASKED_GB))
    np.testing.assert_array_equal(failed_G, ASKED_GB[:, 0])


def test_the_worst_log_likelihood_is_finite_and_no_option_beyond_it_is_worse():
    def of(probability: float) -> float:
        answers_BA = np.array([[1 - probability, probability]], np.float32)
        return float(log_likelihood(answers_BA, np.array([1]), np.ones((1, 1)))[0])

    assert of(0.0) == of(1e-9) == pytest.approx(-13.8, abs=0.05)
    assert of(0.0) < of(1e-5) < of(0.5) < of(1.0) == 0.0


def test_the_packaged_file_has_the_published_columns():
    path = ROOT / "jaxalign/survey/data/culturalbench_fixture.csv"
    with path.open(newline="", encoding="utf-8") as file:
        assert next(csv.reader(file)) == HEADER.split(",")
    assert load_quiz(str(path)).questions == load_quiz("fixture").questions


@pytest.mark.parametrize("cell", ["nan", "NaN", "<NA>"])
def test_what_pandas_writes_for_a_missing_text_is_no_option(tmp_path, cell):
    message = fault(write(tmp_path, HEADER, ROW.replace("tea", cell)))
    assert f"is '{cell}', as pandas writes a text that is missing" in message
    assert load_quiz(write(tmp_path, HEADER, ROW.replace("tea", "None")))  # may well be an answer
