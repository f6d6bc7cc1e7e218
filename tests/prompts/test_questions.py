"""Option tokens as the tokenizer writes them in context, and questions laid out to share."""

import itertools
from typing import Any

import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.prompts import build_questions, encode, option_ids, question_text, render_chat
from jaxalign.survey import parse_instrument


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
        node, path = int(questions.trie.answer_nodes_Q[row]), []
        while node >= 0:
            path.append(int(questions.trie.tokens_T[node]))
            node = int(questions.trie.parents_T[node])
        assert trained.decode(path[::-1]) == text
        for label, answer in zip(item.labels, questions.answer_ids_QA[row].tolist(), strict=True):
            assert encode(trained, text + label) == [*path[::-1], answer]
            assert trained.decode([answer]) == label


def test_a_label_in_context_is_not_the_label_alone(prefixing):
    (alone,) = encode(prefixing, "1")
    ids = option_ids(prefixing, "Q\nAnswer:", ("1", "2"), "item q")
    assert prefixing.convert_ids_to_tokens([alone, *ids]) == ["▁1", "1", "2"]


def test_two_options_that_share_a_token_are_named(tiny):
    message = fault(survey(q=["7", "10", "1x"]), tiny([]))
    for named in ("item q", "'10'", "'1x'", "token '1'"):
        assert named in message
    assert "'7'" not in message


def test_labels_with_a_merged_token_of_their_own_differ(tiny):
    labels = ["1", "10", "1x"]
    assert "'1' and '10'" in fault(survey(q=labels), tiny([]))
    tokenizer = tiny([("1", "0"), ("1", "x")])
    answers = build_questions(survey(q=labels), tokenizer).answer_ids_QA[0]
    assert tokenizer.convert_ids_to_tokens(answers.tolist()) == labels


@pytest.mark.parametrize("label", ["b", "bc"])  # the second leaves a token after the melted one
def test_a_label_that_melts_into_the_text_is_named(tiny, label):
    tokenizer = tiny([(":", "b")])  # the text ends with a colon
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
