"""The directions of an embedding that the first layer responds to."""

import dataclasses

import jax
import numpy as np
import pytest
from small_models import CONFIG, numpy_model

import jaxalign.model as jm
from jaxalign.model.architecture import GEMMA3, LLAMA
from jaxalign.search import first_layer_space, first_vectors


def by_hand(weights, offset=0.0):
    total = 0
    for name, norm in (("value", "attention_norm"), ("gate", "mlp_norm"), ("up", "mlp_norm")):
        heard = np.asarray(weights["block"][name][...][0], float)
        heard = heard * (offset + np.asarray(weights["block"][norm][...][0]))
        total = total + heard.T @ heard / np.sum(heard**2)
    return total


@pytest.mark.parametrize("family", [LLAMA, GEMMA3], ids=lambda family: family.name)
def test_gram_is_what_the_matrices_hear(family):
    config = dataclasses.replace(CONFIG, family=family)
    _, weights = numpy_model(config)
    expected = by_hand(weights, offset=float(family is GEMMA3))
    np.testing.assert_allclose(jm.first_layer_gram(weights, config), expected, atol=1e-6)


def test_gram_of_quantised_weights_is_nearly_the_same():
    _, weights = numpy_model(CONFIG)
    full = by_hand(weights)
    small = jm.first_layer_gram(jm.quantize(weights, "int8", keep=True), CONFIG)
    assert np.abs(small - full).max() < 0.02 * np.abs(full).max()


@pytest.mark.parametrize("dimension", [5, 500])
def test_space_moves_along_the_gram_matrix(dimension):
    _, weights = numpy_model(CONFIG)
    gram_DD, table_VD = jm.first_layer_gram(weights, CONFIG), weights["embedding"][...]
    origin_LD = table_VD[:3]
    space = first_layer_space(gram_DD, table_VD, origin_LD, dimension)
    assert space.shape == (3, min(dimension, CONFIG.width))
    vectors = jax.random.normal(jax.random.key(0), (20_000, *space.shape))
    moves_NLD = np.asarray(space.prompts(vectors)) - np.asarray(origin_LD)
    assert moves_NLD.std() == pytest.approx(float(table_VD.std()), rel=0.02)
    # Along the first K eigenvectors as much as the matrix, and nowhere else.
    value_D, axes_DD = np.linalg.eigh(by_hand(weights))
    variance_D = ((moves_NLD @ axes_DD) ** 2).mean((0, 1))
    wanted_D = np.where(np.arange(CONFIG.width) >= CONFIG.width - dimension, value_D, 0)
    np.testing.assert_allclose(
        variance_D / variance_D.sum(), wanted_D / wanted_D.sum(), rtol=0.05, atol=1e-6
    )


def test_search_starts_at_the_origin_and_near_it():
    _, weights = numpy_model(CONFIG)
    table_VD = weights["embedding"][...]
    space = first_layer_space(jm.first_layer_gram(weights, CONFIG), table_VD, table_VD[:3], 8)
    vectors = first_vectors(space, jax.random.key(0), table_VD[:36].reshape(12, 3, -1))
    assert vectors.shape == (12, 3, 8)
    np.testing.assert_array_equal(space.prompts(vectors[0]), table_VD[:3])
    assert np.std(vectors[1:]) == pytest.approx(0.1, rel=0.2)
