"""Jacobians of the expected answers by soft prompt: forward mode, reverse mode and differences.

XLA's CPU compiler of jaxlib 0.10.2 makes a mistake in `jax.jit(jax.jacrev(…))` of a norm and a
product, without this package too; docs/limits.md has what to do instead.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxalign.fitness.readout import answer_logits
from jaxalign.survey import item_means


@pytest.fixture(scope="module")
def answers(tiny_problem):
    """Means of all items [I] by soft prompt [L, D], and a prompt."""
    length, width = 3, tiny_problem.model_config.width
    table_VD = np.asarray(tiny_problem.table_VD)
    prompt_LD = jnp.asarray(table_VD[5 : 5 + length])
    assert prompt_LD.shape == (length, width)

    def means(prompt_LD, weights, layout):
        model = nnx.merge(tiny_problem.graphdef, weights)
        shares_QA = jax.nn.softmax(answer_logits(model, layout, prompt_LD), axis=-1)
        return item_means(tiny_problem.scoring, shares_QA)

    return means, (prompt_LD, tiny_problem.weights, tiny_problem.task.layout)


@pytest.fixture(scope="module")
def forward(answers):
    means, given = answers
    return np.asarray(jax.jit(jax.jacfwd(means))(*given))


def test_forward_mode_equals_differences(answers, forward):
    means, (prompt_LD, *rest) = answers
    means = jax.jit(means)
    rng, step = np.random.default_rng(0), 1e-2
    for _ in range(3):
        way_LD = rng.normal(size=prompt_LD.shape).astype(np.float32)
        ahead_I, behind_I = (means(prompt_LD + sign * step * way_LD, *rest) for sign in (1, -1))
        expected_I = np.einsum("ild,ld->i", forward, way_LD)
        scale = np.abs(expected_I).max()
        found_I = (np.asarray(ahead_I) - np.asarray(behind_I)) / (2 * step)
        np.testing.assert_allclose(found_I, expected_I, atol=0.03 * scale)


def test_reverse_mode_one_answer_at_a_time_equals_forward_mode(answers, forward):
    means, given = answers

    def rows(prompt_LD, *rest):
        told_I, pull = jax.vjp(lambda prompt_LD: means(prompt_LD, *rest), prompt_LD)
        return jax.lax.map(lambda row_I: pull(row_I)[0], jnp.eye(len(told_I)))

    scale = np.abs(forward).max()
    np.testing.assert_allclose(jax.jit(rows)(*given), forward, atol=1e-4 * scale)


@pytest.mark.nightly
def test_reverse_mode_without_the_faulty_fusions_equals_forward_mode(answers, forward):
    means, given = answers
    options = {}
    if jax.devices()[0].platform == "cpu":
        options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    compiled = jax.jit(jax.jacrev(means)).lower(*given).compile(compiler_options=options)
    np.testing.assert_allclose(compiled(*given), forward, atol=1e-4 * np.abs(forward).max())
