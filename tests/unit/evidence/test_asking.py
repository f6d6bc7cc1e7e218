"""Any questions, in any number of tries, answered as by themselves; and what is made of answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.evidence import asking
from jaxalign.evidence.asking import Asker
from jaxalign.evidence.demonstrations import ask_with_demonstrations, fitting_answers
from jaxalign.prompts import USUAL, Asked, ask_items, parse_format, present, render_chat
from jaxalign.survey import load_quiz


@pytest.fixture
def prompts(tiny_problem):
    width = tiny_problem.model_config.width
    return np.random.default_rng(0).standard_normal((3, 4, width)).astype(np.float32)


def test_answers_are_those_of_the_search(tiny_problem, prompts):
    run = jax.jit(tiny_problem.evaluator())
    searched = run(
        tiny_problem.weights, tiny_problem.task, jnp.asarray(prompts), key=jax.random.key(0)
    )
    asker = Asker(tiny_problem)
    shares = asker.ask(ask_items(tiny_problem.instrument), prompts)
    np.testing.assert_allclose(shares, searched.answers_PQA, atol=1e-5)
    scores, losses = asker.measure(shares, "l1")
    np.testing.assert_allclose(scores, searched.scores_PC, atol=1e-2)
    np.testing.assert_allclose(losses, searched.loss_GP, atol=1e-2)


def test_many_tries_answer_as_one(tiny_problem, prompts, monkeypatch):
    asked = [
        *ask_items(tiny_problem.instrument),
        *ask_items(tiny_problem.instrument, parse_format("reversed/letters"), "Be brief."),
        Asked("Yes or no?", ("y", "n"), "own"),
    ]
    together = Asker(tiny_problem).ask(asked, prompts)
    monkeypatch.setattr(asking, "_TOKENS", 300)
    apart = Asker(tiny_problem).ask(asked, prompts)
    np.testing.assert_allclose(apart, together, atol=1e-5)
    assert (together[:, -1, 2:] == 0).all()
    np.testing.assert_allclose(together.sum(-1), 1.0, atol=1e-5)


def test_no_prompt_is_the_model_alone(tiny_problem):
    asked = ask_items(tiny_problem.instrument)
    alone = Asker(tiny_problem).ask(asked)
    assert alone.shape == (1, 24, 5)
    run = jax.jit(tiny_problem.evaluator())
    none = jnp.zeros((1, 0, tiny_problem.model_config.width))
    naive = run(tiny_problem.weights, tiny_problem.task, none, key=jax.random.key(0))
    np.testing.assert_allclose(alone, naive.answers_PQA, atol=1e-5)


def test_a_question_that_is_too_long_is_refused(tiny_problem):
    with pytest.raises(UserError, match="512"):
        Asker(tiny_problem).ask([Asked("word " * 600, ("1", "2"), "own")])


@pytest.mark.parametrize(("count", "chains"), [(1, 2), (4, 2), (8, 2), (13, 3), (16, 3), (23, 24)])
def test_demonstrations_are_answered_turns_and_never_the_item_itself(tiny_problem, count, chains):
    instrument, tokenizer = tiny_problem.instrument, tiny_problem.tokenizer
    answers, order = np.arange(24) % 5, np.random.default_rng(0).permutation(24)
    asked = ask_with_demonstrations(present(instrument, USUAL)[0], answers, order, count)
    plain = ask_items(instrument)
    for item, one in enumerate(asked):
        assert len(one.before) == count and plain[item].user not in [user for user, _ in one.before]
        text = render_chat(tokenizer, one.user, one.system, one.before)
        places = [text.index(user) for user, _ in one.before]
        assert places == sorted(places) and places[-1] < text.index(one.user)
        for user, label in one.before:
            number = [each.user for each in plain].index(user)
            assert label == plain[number].labels[answers[number]]
    assert len({one.before for one in asked}) == chains


def test_fitting_answers_cannot_be_bettered_by_one_change():
    from jaxalign.survey import load_instrument, load_targets, make_scoring

    instrument = load_instrument("vsm13")
    scoring = make_scoring(instrument, 50.0)
    targets = load_targets("hofstede2010", tuple(instrument.dimensions))
    target = np.array(list(targets["SA"].scores.values()))

    def loss(options):
        scores = (options + 1) @ np.asarray(scoring.weights_CQ).T + 50.0
        return np.abs(scores - target).sum(-1)

    found = fitting_answers(instrument, loss, 0)
    best = loss(found[None])[0]
    assert best < 40  # 12 to 31 is the least that whole answers reach
    for item in range(24):
        tried = np.repeat(found[None], 5, axis=0)
        tried[:, item] = np.arange(5)
        assert loss(tried).min() >= best
    np.testing.assert_array_equal(found, fitting_answers(instrument, loss, 0))


def test_quiz_questions_fit_beside_items(tiny_problem):
    from jaxalign.prompts import ask_quiz

    questions = load_quiz("fixture").questions
    asked = [*ask_items(tiny_problem.instrument), *ask_quiz(questions)]
    shares = Asker(tiny_problem).ask(asked)[0]
    np.testing.assert_allclose(shares.sum(-1), 1.0, atol=1e-5)
    for row, question in zip(shares[24:], questions, strict=True):
        assert (row[len(question.options) :] == 0).all()
