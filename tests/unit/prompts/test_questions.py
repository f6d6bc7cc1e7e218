"""Option tokens as the tokenizer writes them in context, and questions laid out to share."""

import dataclasses
import itertools
from typing import Any

import jax
import numpy as np
import pytest
import scipy.special
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxalign.errors import UserError
from jaxalign.fitness.readout import answer_logits, read_answers
from jaxalign.model import resolve
from jaxalign.objective import Objective, make_task
from jaxalign.prompts import (
    Questions,
    build_questions,
    build_trie,
    encode,
    load_tokenizer,
    option_ids,
    question_text,
    quiz_text,
    render_chat,
)
from jaxalign.survey import QuizQuestion, load_quiz, make_scoring, parse_instrument


def survey(**labels: list) -> Any:
    """One item for each keyword, with these labels."""
    return parse_instrument(
        {
            "name": "own",
            "title": "Own",
            "instruction": "Choose.",
            "stems": {"s": "Stem."},
            "scales": {
                key: {"options": [f"option {label}" for label in given], "labels": given}
                for key, given in labels.items()
            },
            "items": [
                {"id": key, "stem": "s", "scale": key, "text": f"Item {key}?"} for key in labels
            ],
            "dimensions": {"K": "Kindness"},
            "coefficients": {"main": {"K": dict.fromkeys(labels, 1)}},
        },
        "own",
    )


def sequence_at(questions, row: int) -> list[int]:
    """Tokens from a root of the trie to a question's answer node."""
    node, path = int(questions.trie.answer_nodes_Q[row]), []
    while node >= 0:
        path.append(int(questions.trie.tokens_T[node]))
        node = int(questions.trie.parents_T[node])
    return path[::-1]


def fault(*arguments: Any) -> str:
    with pytest.raises(UserError) as error:
        build_questions(*arguments)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.mark.parametrize("system", [None, "You are a person from Peru."])
def test_answers_are_the_tokens_that_follow_the_question(vsm13, trained, system):
    questions = build_questions(vsm13, trained, system)
    assert questions.answer_ids_QA.shape == questions.offered_QA.shape == (24, 5)
    assert questions.offered_QA.all()
    for row, item in enumerate(vsm13.items):
        text = render_chat(trained, question_text(vsm13, item), system)
        path = sequence_at(questions, row)
        assert trained.decode(path) == text
        for label, answer in zip(item.labels, questions.answer_ids_QA[row].tolist(), strict=True):
            assert encode(trained, text + label) == [*path, answer]
            assert trained.decode([answer]) == label


def test_a_label_in_context_is_not_the_label_alone(prefixing):
    (alone,) = encode(prefixing, "1")
    ids = option_ids(prefixing, "Q\nAnswer:", ("1", "2"), "item q")
    assert prefixing.convert_ids_to_tokens([alone, *ids]) == ["▁1", "1", "2"]


def test_labels_with_a_merged_token_of_their_own_differ(tiny):
    labels = ["1", "10", "1x"]
    tokenizer = tiny([("1", "0"), ("1", "x")])
    questions = build_questions(survey(q=labels), tokenizer)
    assert tokenizer.convert_ids_to_tokens(questions.answer_ids_QA[0].tolist()) == labels
    assert questions.longer is None


@pytest.mark.parametrize("label", ["b", "bc"])  # the second leaves a token after the melted one
def test_a_label_that_melts_into_the_text_is_named(tiny, label):
    tokenizer = tiny([("Ċ", "b")])  # the text ends with a new line
    message = fault(survey(q=["a", label]), tokenizer)
    assert f"item q: option label {label!r} is not a token of its own" in message
    assert build_questions(survey(q=["a", "c"]), tokenizer).offered_QA.all()


def test_a_label_without_a_token(trained):
    with pytest.raises(UserError, match="item q: option label ''"):
        option_ids(trained, "text", ("1", ""), "item q")


def test_ragged_options(tiny):
    tokenizer = tiny([])
    questions = build_questions(survey(p=[1, 2, 3, 4, 5], q=["a", "b", "c"]), tokenizer)
    assert questions.offered_QA.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    names = [tokenizer.convert_ids_to_tokens(row) for row in questions.answer_ids_QA.tolist()]
    assert names == [list("12345"), list("abcaa")]
    assert questions.answer_ids_QA.dtype == np.int32


def test_the_words_of_a_question(vsm13):
    assert question_text(vsm13, vsm13.items[15]) == (
        "A question on how things usually are with you.\n"
        "1 = all the time\n2 = often\n3 = now and then\n4 = rarely\n5 = never\n"
        "Reply with the number of one option only.\n"
        "Do you feel happiness?"
    )


def test_items_of_a_group_share_all_but_their_own_words(vsm13, trained):
    sequences = [
        encode(trained, render_chat(trained, question_text(vsm13, item))) for item in vsm13.items
    ]
    for one, other in itertools.combinations(range(24), 2):
        items = vsm13.items[one], vsm13.items[other]
        if len({item.stem for item in items}) > 1 or len({item.scale for item in items}) > 1:
            continue
        ahead = question_text(vsm13, items[0]).removesuffix(items[0].text)
        shared = render_chat(trained, ahead + "X").split("X<|eot_id|>")[0].rstrip("\n")
        length = len(encode(trained, shared))
        assert length > 40
        assert sequences[one][:length] == sequences[other][:length]


def test_a_template_that_refuses_is_a_user_error(tiny):
    assert "chat template" in fault(survey(q=["a", "b"]), tiny([], "{{ raise_exception('no') }}"))


# A quiz beside the survey


@pytest.fixture(scope="module")
def embedded() -> Any:
    """The packaged model's own tokenizer."""
    return load_tokenizer(resolve("embedded"))


@pytest.fixture(scope="module")
def facts() -> tuple[QuizQuestion, ...]:
    return load_quiz("fixture").questions


def choice(options: int) -> QuizQuestion:
    """A question with that many options; the last one is right."""
    names = tuple(f"choice {number}" for number in range(options))
    return QuizQuestion(f"q{options}", "Peru", f"Which of {options}?", names, options - 1)


def test_the_words_of_a_benchmark_question():
    assert quiz_text(choice(3)) == (
        "Reply with the letter of one option only.\n"
        "Which of 3?\n"
        "A. choice 0\nB. choice 1\nC. choice 2"
    )


@pytest.mark.parametrize("system", [None, "You are a person from Peru."])
def test_quiz_and_survey_share_one_trie(vsm13, embedded, facts, system):
    alone = build_questions(vsm13, embedded, system)
    merged = build_questions(vsm13, embedded, system, facts)
    users = [question_text(vsm13, item) for item in vsm13.items] + list(map(quiz_text, facts))
    separate = [encode(embedded, render_chat(embedded, user, system)) for user in users]
    assert [sequence_at(merged, row) for row in range(24 + len(facts))] == separate
    prefixes = {tuple(tokens[:end]) for tokens in separate for end in range(1, len(tokens) + 1)}
    assert merged.trie.size == len(prefixes)
    np.testing.assert_array_equal(merged.answer_ids_QA[:24], alone.answer_ids_QA)
    np.testing.assert_array_equal(merged.offered_QA[:24], alone.offered_QA)
    assert (len(alone.offered_QA), alone.right_B.tolist()) == (24, [])


def test_the_answers_to_a_benchmark_question(vsm13, embedded, facts):
    merged = build_questions(vsm13, embedded, quiz=facts)
    assert len(merged.offered_QA) == 24 + len(facts)
    assert merged.right_B.dtype == np.int32
    for row, (question, right) in enumerate(zip(facts, merged.right_B, strict=True), 24):
        text, count = embedded.decode(sequence_at(merged, row)), len(question.options)
        assert merged.offered_QA[row].tolist() == [True] * count + [False] * (5 - count)
        letters = embedded.convert_ids_to_tokens(merged.answer_ids_QA[row].tolist())
        assert letters == [*"ABCD"[:count], *"A" * (5 - count)]
        assert encode(embedded, text + letters[right])[-1] == merged.answer_ids_QA[row, right]
        assert f"\n{letters[right]}. {question.options[question.right]}" in text


def test_quiz_questions_share_everything_ahead_of_their_own_words(vsm13, embedded, facts):
    merged = build_questions(vsm13, embedded, quiz=facts)
    ahead = render_chat(embedded, quiz_text(facts[0])).split(facts[0].text)[0]
    tokens = encode(embedded, ahead)
    assert len(tokens) > 10
    assert all(sequence_at(merged, row)[: len(tokens)] == tokens for row in range(24, 44))


@settings(max_examples=30, deadline=None)
@given(
    scale=st.integers(2, 7),
    counts=st.lists(st.integers(2, 4), max_size=3),
    seed=st.integers(0, 2**16),
)
def test_padding_offers_nothing_and_changes_no_share(embedded, scale, counts, seed):
    instrument = survey(p=list(range(1, scale + 1)), q=["x", "y"])
    questions = build_questions(instrument, embedded, quiz=list(map(choice, counts)))
    sizes = [scale, 2, *counts]
    assert questions.offered_QA.shape == questions.answer_ids_QA.shape == (len(sizes), max(sizes))
    logits_V = 20 * np.random.default_rng(seed).normal(size=len(embedded))
    # The padding repeats the first option's token, so unmasked it would be as likely as that.
    logits_QA = np.where(questions.offered_QA, logits_V[questions.answer_ids_QA], -np.inf)
    shares_QA = scipy.special.softmax(logits_QA, axis=-1)
    for row, size in enumerate(sizes):
        own_A = scipy.special.softmax(logits_V[questions.answer_ids_QA[row, :size]])
        np.testing.assert_allclose(shares_QA[row, :size], own_A, rtol=1e-9)
        assert not shares_QA[row, size:].any()


def test_a_model_answers_in_the_merged_trie_as_to_each_question_alone(tiny_problem, facts):
    three_options = facts[16]
    instrument = survey(p=[1, 2, 3, 4, 5], q=["x", "y"])
    merged = build_questions(instrument, tiny_problem.tokenizer, quiz=[three_options])
    scoring, target_C = make_scoring(instrument, 0.0), np.zeros(1)
    model = nnx.merge(tiny_problem.graphdef, tiny_problem.weights)
    prompt_LD = 0.3 * jax.random.normal(jax.random.key(0), (3, 32))

    def logits(questions: Questions) -> np.ndarray:
        layout = make_task(questions, scoring, target_C[None]).layout
        return np.asarray(jax.jit(lambda: answer_logits(model, layout, prompt_LD))())

    merged_QA = logits(merged)
    for row in (0, 2):
        (alone_A,) = logits(
            dataclasses.replace(
                merged,
                trie=build_trie([sequence_at(merged, row)]),
                answer_ids_QA=merged.answer_ids_QA[row : row + 1],
                offered_QA=merged.offered_QA[row : row + 1],
            )
        )
        np.testing.assert_allclose(merged_QA[row], alone_A, rtol=2e-4, atol=2e-4)
    for readout in ("expected", "sampled", "greedy"):
        shares_QA = read_answers(merged_QA, Objective(readout=readout), jax.random.key(1))
        assert not np.asarray(shares_QA)[~merged.offered_QA].any()


def test_letters_that_a_tokenizer_cannot_tell_apart_are_no_fault_of_the_survey(tiny):
    tokenizer = tiny([("Ċ", "A")])  # the text ends with a new line
    message = fault(survey(q=["1", "2"]), tokenizer, None, [choice(2)])
    assert "quiz question q2: option label 'A'" in message
    assert "survey file" not in message and "leave CulturalBench out" in message
