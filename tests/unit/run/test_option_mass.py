"""Probability of the options among the whole vocabulary."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from flax import nnx

from jaxalign.fitness.readout import answer_states, read_answers
from jaxalign.objective import Objective
from jaxalign.run.option_mass import OptionMass, describe_mass, naive_mass, option_mass


@pytest.mark.parametrize("length", [0, 3])
def test_equals_a_full_softmax(tiny_problem, length):
    problem = tiny_problem
    width = problem.model_config.width
    prompt_LD = 0.3 * jax.random.normal(jax.random.key(1), (length, width))
    layout = problem.task.layout
    layout = dataclasses.replace(layout, offered_QA=layout.offered_QA.at[2, 3:].set(False))
    arguments = (problem.graphdef, problem.weights, layout, prompt_LD)
    mass_QA, likeliest_Q = map(np.asarray, jax.jit(option_mass)(*arguments))

    model = nnx.merge(problem.graphdef, problem.weights)
    hidden_QD = np.asarray(jax.jit(lambda *args: answer_states(model, *args))(layout, prompt_LD))
    logits_QV = hidden_QD.astype(np.float64) @ np.asarray(model.head_rows(), np.float64).T
    full_QV = scipy.special.softmax(logits_QV, axis=1)
    expected_QA = np.take_along_axis(full_QV, np.asarray(layout.answer_ids_QA), axis=1)
    expected_QA[2, 3:] = 0
    assert np.array_equal(likeliest_Q, logits_QV.argmax(1))
    np.testing.assert_allclose(mass_QA, expected_QA, rtol=1e-4, atol=1e-7)
    off_scale_Q = 1 - mass_QA.sum(1)
    assert (off_scale_Q > 0.01).all() and (off_scale_Q < 1).all()  # a random model wanders off

    # Within the options it is what the search reads.
    logits_QA = jnp.where(layout.offered_QA, jnp.log(expected_QA), -jnp.inf)
    within_QA = read_answers(logits_QA, Objective(), jax.random.key(0))
    np.testing.assert_allclose(mass_QA / mass_QA.sum(1, keepdims=True), within_QA, rtol=1e-3)


def test_the_header_says_how_much_the_options_have(tiny_problem):
    found = naive_mass(tiny_problem, "auto")
    questions = len(found.likeliest_Q)
    ids_QA = tiny_problem.questions.answer_ids_QA
    sure = OptionMass(np.full(ids_QA.shape, 0.19), ids_QA[:, 1])
    words, is_little = describe_mass(tiny_problem, sure)
    assert words == "95% of the probability (95% to 95%)" and not is_little
    (other,) = tiny_problem.tokenizer.encode("=", add_special_tokens=False)
    assert other not in ids_QA
    likeliest_Q = np.where(np.arange(questions) < 3, ids_QA[:, 0], other)
    words, is_little = describe_mass(tiny_problem, sure._replace(likeliest_Q=likeliest_Q))
    assert is_little and words.endswith(
        f"in {questions - 3} of {questions} questions another token is likelier "
        f"('=' {questions - 3})"
    )
    assert describe_mass(tiny_problem, sure._replace(mass_QA=0.1 * sure.mass_QA))[1]
