"""Initial populations against numpy, from float32 and bfloat16 tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from tiers import every

from jaxalign.search import (
    embedding_std,
    from_tokens,
    from_vocabulary,
    mixtures,
    normal,
    resize_population,
    vocabulary_bounds,
)

V, D = 50, 7


@pytest.fixture(params=every(["float32", "bfloat16"], "bfloat16"))
def table_VD(request) -> jax.Array:
    rng = np.random.default_rng(0)
    means_D, spreads_D = rng.normal(0, 2, D), rng.uniform(0.1, 3, D)
    return jnp.asarray(means_D + spreads_D * rng.normal(size=(V, D)), request.param)


def exact(table_VD: jax.Array) -> np.ndarray:
    return np.asarray(table_VD.astype(jnp.float32)).astype(np.float64)


def test_from_tokens_spells_the_rows(table_VD):
    ids_PL = np.array([[0, 49, 3], [3, 3, 0]], np.int32)
    population_PLD = from_tokens(table_VD, ids_PL)
    assert population_PLD.dtype == jnp.float32
    np.testing.assert_array_equal(population_PLD, exact(table_VD)[ids_PL])


def test_from_vocabulary_draws_rows_of_the_table_uniformly(table_VD):
    population_PLD = from_vocabulary(jax.random.key(0), table_VD, 200, 10)
    assert (population_PLD.shape, population_PLD.dtype) == ((200, 10, D), jnp.float32)
    rows = np.asarray(population_PLD).reshape(-1, D)
    match = (rows[:, None, :] == exact(table_VD)[None]).all(axis=-1)
    assert (match.sum(axis=1) == 1).all()
    assert scipy.stats.chisquare(match.sum(axis=0)).pvalue > 1e-3


@pytest.mark.parametrize("seed", every(range(3), 0))
def test_normal_has_the_tables_mean_and_spread(table_VD, seed):
    population_PLD = normal(jax.random.key(seed), table_VD, 400, 25)
    assert (population_PLD.shape, population_PLD.dtype) == ((400, 25, D), jnp.float32)
    drawn_ND = np.asarray(population_PLD, np.float64).reshape(-1, D)
    mean_D, spread_D = exact(table_VD).mean(axis=0), exact(table_VD).std(axis=0)
    # 10,000 draws: the mean within 4 standard errors, the spread within 3 %.
    assert (np.abs(drawn_ND.mean(axis=0) - mean_D) < 4 * spread_D / 100).all()
    np.testing.assert_allclose(drawn_ND.std(axis=0), spread_D, rtol=0.03)
    standard_ND = (drawn_ND - mean_D) / spread_D
    for column_N in standard_ND.T:
        assert scipy.stats.kstest(column_N, "norm").pvalue > 1e-4
    correlation_DD = np.corrcoef(standard_ND.T) - np.eye(D)
    assert np.abs(correlation_DD).max() < 0.06


def test_normal_of_a_coordinate_that_never_varies():
    table_VD = jnp.full((V, 2), jnp.float32(0.1))
    np.testing.assert_allclose(normal(jax.random.key(0), table_VD, 5, 3), 0.1, atol=1e-3)


@pytest.mark.parametrize("draw", [from_vocabulary, normal])
def test_draws_depend_on_the_key_alone(table_VD, draw):
    one, same, other = (draw(jax.random.key(k), table_VD, 6, 4) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert len(np.unique(np.asarray(one).reshape(6, -1), axis=0)) == 6
    jitted = jax.jit(draw, static_argnums=(2, 3))(jax.random.key(0), table_VD, 6, 4)
    np.testing.assert_allclose(jitted, one, rtol=1e-5, atol=1e-6)


def test_bounds_equal_numpy(table_VD):
    low_D, high_D = vocabulary_bounds(table_VD)
    assert low_D.dtype == high_D.dtype == jnp.float32
    np.testing.assert_array_equal(low_D, exact(table_VD).min(axis=0))
    np.testing.assert_array_equal(high_D, exact(table_VD).max(axis=0))


def test_the_mean_of_a_large_bfloat16_table_is_taken_in_float32():
    # In bfloat16 a running mean of thousands of rows would stall far from 1.
    table_VD = jnp.ones((20_000, 1), jnp.bfloat16)
    np.testing.assert_allclose(normal(jax.random.key(0), table_VD, 3, 2), 1.0, atol=1e-3)


def test_embedding_std_is_that_of_all_entries(table_VD):
    np.testing.assert_allclose(embedding_std(table_VD), exact(table_VD).std(), rtol=1e-5)


def test_mixtures_lie_between_two_different_texts_row_by_row(table_VD):
    texts_NLD = from_tokens(table_VD, np.random.default_rng(1).permutation(V)[:12].reshape(4, 3))
    population_PLD = mixtures(jax.random.key(0), texts_NLD, 500)
    assert (population_PLD.shape, population_PLD.dtype) == ((500, 3, D), jnp.float32)
    texts = exact(texts_NLD)
    counts, weights = np.zeros((4, 4)), []
    for member in np.asarray(population_PLD, np.float64):
        fits = []
        for a in range(4):
            for b in range(a):  # u = <x - b, a - b> / |a - b|^2, for each row
                line = texts[a] - texts[b]
                u = ((member - texts[b]) * line).sum(1) / (line**2).sum(1)
                error = np.abs(member - texts[b] - u[:, None] * line).max()
                fits.append((error, a, b, u))
        error, a, b, u = min(fits, key=lambda fit: fit[0])
        assert error < 1e-4 and (u > -1e-4).all() and (u < 1 + 1e-4).all()
        counts[a, b] += 1
        weights.extend(u)
    assert scipy.stats.chisquare(counts[np.tril_indices(4, -1)]).pvalue > 1e-3
    assert scipy.stats.kstest(weights, "uniform").pvalue > 1e-3


def test_mixtures_need_two_texts(table_VD):
    assert mixtures(jax.random.key(0), table_VD[:6].reshape(2, 3, D), 1).shape == (1, 3, D)
    with pytest.raises(ValueError, match="at least two"):
        mixtures(jax.random.key(0), table_VD[:3].reshape(1, 3, D), 5)


def test_a_population_is_cut_or_repeated_with_noise():
    population = jnp.asarray(np.random.default_rng(3).normal(size=(3, 4, 50)), jnp.float32)
    key = jax.random.key(0)
    for count in (1, 2, 3):
        cut = resize_population(population, count, key, 9.0)
        np.testing.assert_array_equal(cut, population[:count])
    grown = np.asarray(resize_population(population, 200, key, 0.01))
    assert grown.shape == (200, 4, 50)
    np.testing.assert_array_equal(grown[:3], population)
    noise = (grown - np.asarray(population)[np.arange(200) % 3])[3:]
    assert scipy.stats.kstest(noise.ravel() / 0.01, "norm").pvalue > 1e-3
    assert len(np.unique(grown.reshape(200, -1), axis=0)) == 200
    again, other = (resize_population(population, 200, jax.random.key(k), 0.01) for k in (0, 1))
    np.testing.assert_array_equal(again, grown)
    assert not np.array_equal(other[3:], grown[3:])


def test_a_prompt_alone_fills_a_population():
    prompt_LD = jnp.ones((2, 3), jnp.bfloat16)
    grown = resize_population(prompt_LD[None], 5, jax.random.key(0), jnp.float32(0.0))
    assert grown.dtype == jnp.float32
    np.testing.assert_array_equal(grown, np.ones((5, 2, 3)))


def test_mixtures_depend_on_the_key_alone(table_VD):
    texts_NLD = table_VD[:30].reshape(10, 3, D)
    one, same, other = (mixtures(jax.random.key(k), texts_NLD, 6) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    jitted = jax.jit(mixtures, static_argnums=2)(jax.random.key(0), texts_NLD, 6)
    np.testing.assert_allclose(jitted, one, rtol=1e-5, atol=1e-5)
