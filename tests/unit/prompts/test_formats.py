"""Formats: options in another order or under other labels, answers in the survey's own order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiers import first

from jaxalign.errors import UserError
from jaxalign.fitness import Execution
from jaxalign.objective import make_task
from jaxalign.prompts import (
    USUAL,
    Format,
    build_questions,
    encode,
    parse_format,
    present,
    question_text,
    read_levels,
    render_chat,
)
from jaxalign.survey import load_instrument, load_wordings, make_scoring, parse_instrument

NAMES = ("identity", "reversed", "cyclic2", "reversed/letters", "cyclic1/words", "identity/numbers")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_read_and_told_again(name):
    assert parse_format(name).name == name


@pytest.mark.parametrize(
    "name",
    ["", "backwards", "cyclic", "cyclic0", "cyclic-1", "identity/", "identity/roman", "/own"],
)
def test_a_wrong_name_is_refused_in_one_line(name):
    with pytest.raises(UserError, match="ORDER or ORDER/LABELS") as error:
        parse_format(name)
    assert len(str(error.value).splitlines()) == 1


def test_the_words_of_a_format(vsm13):
    item = vsm13.items[15]
    assert question_text(vsm13, item, parse_format("reversed/letters")).split("\n")[1:6] == [
        "A = never",
        "B = rarely",
        "C = now and then",
        "D = often",
        "E = all the time",
    ]
    assert question_text(vsm13, item, parse_format("cyclic1/words")).split("\n") == [
        item.stem,
        "often",
        "now and then",
        "rarely",
        "never",
        "all the time",
        "Reply with the words of one option only.",
        item.text,
    ]
    assert parse_format("reversed").labels_of(item) == ("5", "4", "3", "2", "1")
    assert parse_format("cyclic2/letters").labels_of(item) == ("D", "E", "A", "B", "C")


def test_options_that_begin_alike_are_told_apart_by_all_their_tokens(vsm13, trained):
    questions = build_questions(
        vsm13, trained, presentations=present(vsm13, Format(labels="words"))
    )
    ids = [item.id for item in vsm13.items]
    assert {ids[question] for question in questions.longer.question_K} >= {"m21"}


@pytest.mark.parametrize("name", [name for name in NAMES if "words" not in name])
def test_each_option_is_read_at_the_label_that_stands_before_it(vsm13, trained, name):
    shown = parse_format(name)
    questions = build_questions(vsm13, trained, presentations=present(vsm13, shown))
    for row, item in enumerate(vsm13.items):
        lines = question_text(vsm13, item, shown).split("\n")
        text = render_chat(trained, "\n".join(lines))
        before = encode(trained, text)
        for option, answer in zip(item.options, questions.answer_ids_QA[row], strict=True):
            (line,) = [line for line in lines[1:-2] if line.rpartition(" = ")[2] == option]
            label = line.partition(" = ")[0]
            assert encode(trained, text + label)[len(before)] == answer


def test_formats_in_one_trie_answer_as_each_alone(tiny_problem):
    problem = tiny_problem
    names = first(2, ("cyclic2/letters@terse", "reversed+brief+weather", "identity"))
    levels = read_levels(problem.instrument)
    formats = [levels.parse(name) for name in names]

    def ask(formats):
        questions = build_questions(problem.instrument, problem.tokenizer, presentations=formats)
        task = make_task(questions, problem.scoring, np.asarray(problem.task.goal.target_GC))
        prompts = jax.random.normal(jax.random.key(1), (2, 3, problem.model_config.width))
        run = jax.jit(problem.evaluator(Execution(chunk=2)))
        return questions, run(problem.weights, task, prompts, key=jax.random.key(0))

    questions, together = ask(formats)
    assert questions.presentations == tuple(formats)
    alone = [ask([shown])[1] for shown in formats]
    for index, one in enumerate(alone):
        np.testing.assert_allclose(
            together.answers_PQA[:, 24 * index : 24 * (index + 1)], one.answers_PQA, atol=2e-5
        )
    scores = np.mean([one.scores_PC for one in alone], axis=0)
    np.testing.assert_allclose(together.scores_PC, scores, atol=1e-2)
    losses = np.mean([one.loss_GP for one in alone], axis=0)
    np.testing.assert_allclose(together.loss_GP, losses, atol=1e-2)
    # One format's errors cannot hide another's: the loss is not that of the mean scores.
    target = np.asarray(problem.task.goal.target_GC)
    assert (np.abs(scores - target).sum(-1) <= losses + 1e-3).all()


def test_a_model_that_looks_at_labels_alone_scores_the_constant_over_both_orders(vsm13):
    scoring = make_scoring(vsm13, 50.0)
    answers_A = jnp.asarray([0.5, 0.2, 0.15, 0.1, 0.05])  # for the first, the second, … on the list
    reversed_ = [parse_format("reversed").places(5).index(option) for option in range(5)]
    from jaxalign.survey import item_means, scores_from_means

    both = [jnp.broadcast_to(a, (24, 5)) for a in (answers_A, answers_A[jnp.array(reversed_)])]
    scores = [scores_from_means(scoring, item_means(scoring, answers)) for answers in both]
    np.testing.assert_allclose(scores[0] + scores[1], 100.0, atol=1e-3)


def test_a_survey_without_the_instruction_says_which_is_missing(vsm13, trained):
    import dataclasses

    bare = dataclasses.replace(vsm13, instructions={})
    build_questions(bare, trained, presentations=present(bare, USUAL, parse_format("reversed")))
    with pytest.raises(UserError, match=r"identity/words.*vsm13.*instructions\.words"):
        build_questions(bare, trained, presentations=present(bare, Format(labels="words")))


@pytest.mark.parametrize("name", load_wordings(load_instrument("vsm13")))
def test_every_wording_can_be_asked_with_all_labels(trained, name):
    wording = load_instrument(f"vsm13-{name}")
    formats = [USUAL, *(Format("reversed", labels) for labels in ("letters", "words"))]
    questions = build_questions(wording, trained, presentations=present(wording, *formats))
    assert questions.offered_QA.shape == (72, 5) and questions.offered_QA.all()


def test_an_unknown_instruction_is_refused():
    raw = {"instructions": {"colours": "Reply with a colour."}}
    with pytest.raises(UserError, match=r"instructions\.colours must be a text for one of"):
        parse_instrument(raw, "own")
