"""Probability of the options among the whole vocabulary."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from flax import nnx

from jaxalign.evidence.off_scale import option_mass
from jaxalign.fitness import answer_states, read_answers
from jaxalign.objective import Objective


@pytest.mark.parametrize("length", [0, 3])
def test_equals_a_full_softmax(tiny_problem, length):
    problem = tiny_problem
    width = problem.model_config.width
    prompt_LD = 0.3 * jax.random.normal(jax.random.key(1), (length, width))
    layout = problem.task.layout
    layout = dataclasses.replace(layout, offered_QA=layout.offered_QA.at[2, 3:].set(False))
    arguments = (problem.graphdef, problem.weights, layout, prompt_LD)
    mass_QA = np.asarray(jax.jit(option_mass)(*arguments))

    model = nnx.merge(problem.graphdef, problem.weights)
    hidden_QD = np.asarray(jax.jit(lambda *args: answer_states(model, *args))(layout, prompt_LD))
    logits_QV = hidden_QD.astype(np.float64) @ np.asarray(model.head_rows(), np.float64).T
    full_QV = scipy.special.softmax(logits_QV, axis=1)
    expected_QA = np.take_along_axis(full_QV, np.asarray(layout.answer_ids_QA), axis=1)
    expected_QA[2, 3:] = 0
    np.testing.assert_allclose(mass_QA, expected_QA, rtol=1e-4, atol=1e-7)
    off_scale_Q = 1 - mass_QA.sum(1)
    assert (off_scale_Q > 0.01).all() and (off_scale_Q < 1).all()  # a random model wanders off

    # Within the options it is what the search reads.
    logits_QA = jnp.where(layout.offered_QA, jnp.log(expected_QA), -jnp.inf)
    within_QA = read_answers(logits_QA, Objective(), jax.random.key(0))
    np.testing.assert_allclose(mass_QA / mass_QA.sum(1, keepdims=True), within_QA, rtol=1e-3)
