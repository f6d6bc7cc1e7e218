"""Search spaces against numpy in float64: maps, scales, limits and first vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import every

from jaxalign.errors import UserError
from jaxalign.search import (
    Space,
    first_vectors,
    full_space,
    random_subspace,
    text_space,
    vocabulary_bounds,
    with_limits,
)

V, L, D, M = 60, 4, 6, 5
RNG = np.random.default_rng(0)
TABLE = jnp.asarray(RNG.normal(0.3, 2.0, (V, D)) * RNG.uniform(0.2, 2, D), jnp.float32)
TEXTS = TABLE[RNG.integers(0, V, (M, L))]
KEY = jax.random.key(7)
MEAN_NORM = np.linalg.norm(np.asarray(TABLE, np.float64), axis=-1).mean()
LIMITS = [("none", 0.0), ("vocabulary", 0.0), ("none", 1.5), ("vocabulary", 1.5)]


def make(kind: str, bounds: str = "none", ratio: float = 0.0) -> Space:
    space = {
        "full": lambda: full_space(L, D),
        "subspace": lambda: random_subspace(KEY, TABLE, TEXTS[0], M),
        "texts": lambda: text_space(TEXTS),
    }[kind]()
    return with_limits(space, bounds, ratio, TABLE)


def draw(space: Space, *leading: int, scale: float = 1.0, seed: int = 0) -> jax.Array:
    drawn = np.random.default_rng(seed).normal(0, scale, (*leading, *space.shape))
    return jnp.asarray(drawn, jnp.float32)


def exact(array: jax.Array) -> np.ndarray:
    return np.asarray(array, np.float64)


@pytest.mark.parametrize("bounds,ratio", LIMITS)
@pytest.mark.parametrize("kind", ["full", "subspace", "texts"])
def test_prompts_equal_the_formula(kind, bounds, ratio):
    space = make(kind, bounds, ratio)
    vectors = draw(space, 7) * np.geomspace(0.05, 4, 7).reshape(-1, *[1] * len(space.shape))
    prompts_PLD = space.prompts(vectors)
    assert (prompts_PLD.shape, prompts_PLD.dtype) == ((7, L, D), jnp.float32)

    wanted = exact(vectors)
    if kind == "subspace":
        moves = np.tensordot(wanted, exact(space.basis_MLD), axes=1)
        wanted = exact(TEXTS[0]) + moves
    elif kind == "texts":
        mean = exact(TEXTS).mean(axis=0)
        wanted = np.stack(
            [
                mean + sum(z * (t - mean) for z, t in zip(v, exact(TEXTS), strict=True))
                for v in wanted
            ]
        )
    if bounds == "vocabulary":
        low, high = exact(TABLE).min(axis=0), exact(TABLE).max(axis=0)
        if ratio:
            low, high = np.minimum(low, 0), np.maximum(high, 0)
        wanted = np.clip(wanted, low, high)
    if ratio:
        norms = np.linalg.norm(wanted, axis=-1, keepdims=True)
        assert (norms > ratio * MEAN_NORM).any() and (norms < ratio * MEAN_NORM).any()
        wanted = wanted * np.minimum(1, ratio * MEAN_NORM / norms)
    np.testing.assert_allclose(prompts_PLD, wanted, rtol=3e-5, atol=2e-5)


@pytest.mark.parametrize("kind", ["full", "subspace", "texts"])
def test_any_leading_axes_under_jit_and_vmap(kind):
    space = make(kind, "vocabulary", 0.8)
    vectors = draw(space, 3, 2)
    looped = np.stack([[space.prompts(vector) for vector in row] for row in vectors])
    assert looped.shape == (3, 2, L, D)
    batched = space.prompts(vectors)
    jitted = jax.jit(Space.prompts)(space, vectors)
    mapped = jax.vmap(jax.vmap(space.prompts))(vectors)
    for other in (batched, jitted, mapped):
        np.testing.assert_allclose(other, looped, rtol=1e-5, atol=1e-5)
    no_vectors = space.prompts(vectors[:0])
    assert no_vectors.shape == (0, 2, L, D)


def test_the_product_is_taken_in_full_float32():
    # Accelerators take fewer bits by default, which no CPU run would show.
    for kind in ("subspace", "texts"):
        space = make(kind)
        traced = str(jax.make_jaxpr(space.prompts)(draw(space, 2)))
        assert traced.count("dot_general") == 1 and "Precision.HIGHEST" in traced


def test_arrays_of_a_space_are_arguments_of_a_jitted_step():
    # One trace serves another basis, and nothing of the first is baked into it.
    traces = []

    @jax.jit
    def step(space, vectors):
        traces.append(space.kind)
        return space.prompts(vectors)

    one, other = (random_subspace(jax.random.key(k), TABLE, TEXTS[k], M) for k in (0, 1))
    vectors = draw(one, 2)
    assert not np.allclose(step(one, vectors), step(other, vectors))
    np.testing.assert_allclose(step(other, vectors), other.prompts(vectors), rtol=1e-5, atol=1e-5)
    assert traces == ["subspace"]


@given(
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(["full", "subspace", "texts"]),
    limits=st.sampled_from(LIMITS),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 1e3, 1e12]),
)
@settings(max_examples=40, deadline=None)
def test_limits_hold_and_limiting_twice_is_limiting_once(seed, kind, limits, scale):
    bounds, ratio = limits
    space = make(kind, bounds, ratio)
    vectors = draw(space, 3, scale=scale, seed=seed)
    prompts_PLD = space.prompts(vectors)
    assert np.isfinite(prompts_PLD).all()
    if bounds == "vocabulary":
        assert (prompts_PLD >= space.low_D[None, None]).all()
        assert (prompts_PLD <= space.high_D[None, None]).all()
    if ratio:
        norms = np.linalg.norm(exact(prompts_PLD), axis=-1)
        assert (norms <= ratio * MEAN_NORM).all()
    confined = space.confine(vectors)
    np.testing.assert_array_equal(space.confine(confined), confined)
    np.testing.assert_array_equal(space.prompts(confined), prompts_PLD)
    # Only in the full space is the vector the prompt.
    np.testing.assert_array_equal(confined, prompts_PLD if kind == "full" else vectors)


def test_a_prompt_within_the_limits_is_not_touched():
    space = make("full", "vocabulary", 3.0)
    prompts_PLD = TABLE[: 2 * L].reshape(2, L, D)
    np.testing.assert_array_equal(space.prompts(prompts_PLD), prompts_PLD)


def test_limits_are_those_of_the_table():
    space = make("full", "vocabulary", 2.0)
    np.testing.assert_allclose(space.max_norm, 2.0 * MEAN_NORM, rtol=1e-6)
    bounds = vocabulary_bounds(TABLE)
    np.testing.assert_array_equal((space.low_D, space.high_D), bounds)
    free = make("full", "none", 0.0)
    assert free.low_D is free.high_D is free.max_norm is None
    # A bfloat16 table is measured in float32.
    rounded = TABLE.astype(jnp.bfloat16)
    norms = np.linalg.norm(np.asarray(rounded.astype(jnp.float32), np.float64), axis=-1)
    limited = with_limits(full_space(L, D), "none", 1.0, rounded)
    assert limited.max_norm.dtype == jnp.float32
    np.testing.assert_allclose(limited.max_norm, norms.mean(), rtol=1e-6)


def test_both_limits_hold_where_the_vocabulary_is_far_from_zero():
    # All entries lie in [5, 6]: a row of norm 1 can only be had if the range is widened to zero.
    table_VD = jnp.asarray(RNG.uniform(5, 6, (V, D)), jnp.float32)
    space = with_limits(full_space(L, D), "vocabulary", 0.1, table_VD)
    prompts_PLD = space.prompts(draw(space, 9, scale=10.0))
    assert (np.linalg.norm(prompts_PLD, axis=-1) <= float(space.max_norm)).all()
    low_D, high_D = np.asarray(space.low_D), np.asarray(space.high_D)
    assert (low_D == 0).all() and (high_D > 5).all()
    assert (np.asarray(prompts_PLD) >= low_D[None, None]).all()
    assert (np.asarray(prompts_PLD) <= high_D[None, None]).all()
    alone = with_limits(full_space(L, D), "vocabulary", 0.0, table_VD)
    assert (alone.prompts(draw(alone, 9)) >= 5).all()


@pytest.mark.parametrize("dtype", every(["float32", "bfloat16"], "bfloat16"))
@pytest.mark.parametrize("dimension", [1, 3, 40])
def test_the_basis_is_normal_with_the_stated_std(dimension, dtype):
    length, width = 40, 50
    table_VD = jnp.asarray(RNG.normal(0.5, 0.02, (300, width)), dtype)
    origin_LD = jnp.ones((length, width), dtype)
    space = random_subspace(KEY, table_VD, origin_LD, dimension)
    assert space.basis_MLD.shape == (dimension, length, width)
    assert space.basis_MLD.dtype == space.origin_LD.dtype == jnp.float32
    std = np.asarray(table_VD.astype(jnp.float32), np.float64).std() / np.sqrt(dimension)
    basis_MN = exact(space.basis_MLD).reshape(dimension, -1)
    # 2,000 draws a row: 4 standard errors are 4 / sqrt(2 * 2000) = 6 %.
    np.testing.assert_allclose(basis_MN.std(axis=1), std, rtol=0.064)
    assert scipy.stats.kstest(basis_MN.ravel() / std, "norm").pvalue > 1e-3
    # Independent rows: singular values within std (sqrt(N) ± sqrt(M)), with some slack.
    values = np.linalg.svd(basis_MN, compute_uv=False)
    edges = std * (np.sqrt(2000) + np.array([-1, 1]) * (np.sqrt(dimension) + 4))
    assert edges[0] < values.min() and values.max() < edges[1]


@pytest.mark.parametrize("dimension", [1, 10, 500])
def test_a_normal_vector_moves_each_coordinate_by_one_std_of_the_embeddings(dimension):
    length, width = 8, 64
    table_VD = jnp.asarray(RNG.normal(0.0, 0.02, (200, width)), jnp.float32)
    space = random_subspace(KEY, table_VD, jnp.zeros((length, width)), dimension)
    moves = exact(space.prompts(draw(space, 400)))
    assert np.sqrt((moves**2).mean()) == pytest.approx(float(jnp.std(table_VD)), rel=0.15)


def test_a_subspace_depends_on_its_key_alone():
    one, same, other = (
        random_subspace(jax.random.key(k), TABLE, TEXTS[0], M).basis_MLD for k in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_mixing_texts():
    space = text_space(TEXTS)
    np.testing.assert_allclose(space.prompts(jnp.eye(M)), TEXTS, rtol=1e-5, atol=1e-6)
    mean = exact(TEXTS).mean(axis=0)
    np.testing.assert_allclose(space.prompts(jnp.zeros(M)), mean, rtol=1e-5, atol=1e-6)
    half = space.prompts(jnp.array([0.5, 0.5, 0, 0, 0]))
    np.testing.assert_allclose(half, (TEXTS[0] + TEXTS[1]) / 2, rtol=1e-5, atol=1e-6)
    # The directions add to zero, so a common shift of all weights changes nothing.
    vector = draw(space)
    np.testing.assert_allclose(
        space.prompts(vector + 3.0), space.prompts(vector), rtol=1e-4, atol=1e-4
    )
    rank = np.linalg.matrix_rank(exact(space.basis_MLD).reshape(M, -1), tol=1e-4)
    assert rank == M - 1


@pytest.mark.parametrize("population", every([1, 2, M, M + 1, 400], 2, M + 1))
def test_first_vectors(population):
    prompts_PLD = jax.random.normal(KEY, (population, L, D))
    full = first_vectors(make("full"), KEY, prompts_PLD)
    np.testing.assert_array_equal(full, prompts_PLD)

    subspace = make("subspace")
    vectors_PM = first_vectors(subspace, KEY, prompts_PLD)
    assert (vectors_PM.shape, vectors_PM.dtype) == ((population, M), jnp.float32)
    np.testing.assert_array_equal(subspace.prompts(vectors_PM)[0], TEXTS[0])
    assert population == 1 or (vectors_PM[1:] != 0).all()

    texts_PM = np.asarray(first_vectors(make("texts"), KEY, prompts_PLD))
    assert (texts_PM.shape, texts_PM.dtype) == ((population, M), np.float32)
    np.testing.assert_array_equal(texts_PM[:M], np.eye(M)[:population])
    rest = texts_PM[M:]
    assert (rest >= 0).all() and ((rest > 0).sum(axis=1) == 2).all()
    np.testing.assert_allclose(rest.sum(axis=1), 1.0, rtol=1e-6)
    assert len(np.unique(texts_PM, axis=0)) == population


def test_first_vectors_are_spread_as_stated():
    prompts_PLD = jnp.zeros((4000, L, D))
    normal_PM = np.asarray(first_vectors(make("subspace"), KEY, prompts_PLD))[1:]
    assert scipy.stats.kstest(normal_PM.ravel(), "norm").pvalue > 1e-3
    mixed = np.asarray(first_vectors(make("texts"), KEY, prompts_PLD))[M:]
    weights = mixed[mixed > 0]
    assert scipy.stats.kstest(weights, "uniform").pvalue > 1e-3
    counts = (mixed > 0).sum(axis=0)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_wrong_dimensions_are_one_line():
    for dimension in (0, -1, L * D + 1):
        with pytest.raises(UserError, match=r"^search.space=subspace: .* from 1 to 24 [^\n]*$"):
            random_subspace(KEY, TABLE, TEXTS[0], dimension)
    assert random_subspace(KEY, TABLE, TEXTS[0], L * D).shape == (L * D,)
    with pytest.raises(UserError, match=r"^search.space=texts: .* at least 2 texts [^\n]*$"):
        text_space(TEXTS[:1])


@pytest.mark.parametrize("kind", ["full", "subspace", "texts"])
def test_vectors_of_another_shape_are_refused(kind):
    space = make(kind)
    wrong = jnp.zeros((3, L, D + 1) if kind == "full" else (3, M + 1))
    for refused in (wrong, jnp.float32(0)):
        for method in (space.prompts, space.confine):
            with pytest.raises(ValueError, match=f"{kind} space"):
                method(refused)
