"""The shared parts of the adaptive differential evolutions, against laws, loops and hand sums."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxalign.search import adaptive
from jaxalign.search.archive import Archive, archived, current_to_pbest, top_count

DRAWS = 20_000
# Compile time, not run time, is what these tests cost.
OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
jit = functools.partial(jax.jit, compiler_options=OPTIONS)


def many(draw, *arguments, count: int = DRAWS):
    """What `draw(key, *arguments)` gives for as many keys."""
    keys = jax.random.split(jax.random.key(5), count)
    return np.asarray(jit(jax.vmap(lambda key: draw(key, *arguments)))(keys))


@pytest.mark.parametrize("count", [5, 7])
def test_partners_are_distinct_and_uniform_over_the_rest(count):
    taken = [jnp.arange(7), jnp.array([2, 2, 2, 0, 1, 3, 4])]  # member 2 is taken twice by row 2

    def draw(key, count):
        return adaptive.others(key, taken, count)

    drawn = many(draw, jnp.int32(count))
    for row in range(count):
        out = {int(index_P[row]) for index_P in taken}
        free = [i for i in range(count) if i not in out]
        seen = np.bincount(drawn[:, row], minlength=count)
        assert seen.sum() == seen[free].sum() == DRAWS
        assert scipy.stats.chisquare(seen[free]).pvalue > 1e-4


def test_crossover_takes_each_coordinate_at_the_rate_and_one_always():
    rate_P = jnp.array([0.0, 0.3, 1.0])
    crossed = many(lambda key: adaptive.crossover(key, jnp.zeros((3, 5)), jnp.ones((3, 5)), rate_P))
    assert set(crossed[:, 0].sum(-1)) == {1.0}
    assert crossed[:, 2].all()
    assert crossed[:, 1].sum(-1).min() == 1
    # One of 5 is forced, the other 4 cross at the rate; the same share at every coordinate.
    expected = (1 + 4 * 0.3) / 5
    np.testing.assert_allclose(crossed[:, 1].mean(0), expected, atol=5 * (0.25 / DRAWS) ** 0.5)
    np.testing.assert_allclose(crossed[:, 0].mean(0), 0.2, atol=5 * (0.16 / DRAWS) ** 0.5)
    # Coordinates are independent but for the forced one: a pair is both crossed as often as this.
    both = crossed[:, 1, 0] * crossed[:, 1, 1]
    np.testing.assert_allclose(both.mean(), 0.4 * 0.3 + 0.6 * 0.09, atol=0.015)


@pytest.mark.parametrize("width", [1, 2])
def test_crossover_of_few_coordinates_takes_one_at_least(width):
    parents_PN, mutants_PN = jnp.zeros((4, width)), jnp.ones((4, width))
    crossed = many(lambda key: adaptive.crossover(key, parents_PN, mutants_PN, jnp.zeros(4)))
    assert (crossed.sum(-1) == 1).all()


@pytest.mark.parametrize("location", [0.0, 0.02, 0.5, 1.0])
def test_weights_have_the_law_of_drawing_again_until_positive(location):
    drawn = many(lambda key: adaptive.draw_weight(key, jnp.full(3, location)))[:, 0]
    rng = np.random.default_rng(0)
    loop = location + 0.1 * rng.standard_cauchy(6 * DRAWS)
    loop = np.minimum(loop[loop > 0], 1.0)
    assert drawn.min() > 0
    assert drawn.max() <= 1.0
    assert scipy.stats.ks_2samp(drawn, loop).pvalue > 1e-3
    # The atom at the cut is the tail of the law.
    law = scipy.stats.cauchy(location, 0.1)
    np.testing.assert_allclose((drawn == 1.0).mean(), law.sf(1) / law.sf(0), atol=0.02)


@pytest.mark.parametrize("location", [0.0, 0.5, 1.0])
def test_rates_are_normal_and_cut(location):
    drawn = many(lambda key: adaptive.draw_rate(key, jnp.full(3, location)))[:, 1]
    rng = np.random.default_rng(1)
    expected = np.clip(rng.normal(location, 0.1, DRAWS), 0, 1)
    assert scipy.stats.ks_2samp(drawn, expected).pvalue > 1e-3


def test_means_by_hand():
    values, share = jnp.array([0.2, 0.5, 0.9, 0.7]), jnp.array([1.0, 0.5, 0.0, 0.0])
    assert float(adaptive.mean(values, share)) == pytest.approx((0.2 + 0.25) / 1.5)
    lehmer = (0.04 + 0.5 * 0.25) / (0.2 + 0.5 * 0.5)
    assert float(adaptive.lehmer_mean(values, share)) == pytest.approx(lehmer)
    assert float(adaptive.lehmer_mean(jnp.zeros(4), share)) == 0.0
    assert float(adaptive.mean(values, jnp.zeros(4))) == 0.0


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([5.0, 4, 3, 2], [3.0, 9, 2, 2], [1.0, 0, 0.5, 0]),
        ([3e38, 1, 1, 1], [-3e38, 0, 2, 2], [1.0, 1, 0, 0]),  # the fall leaves float32
        ([np.inf, 1, 7, 1], [1.0, 0, 3, 2], [0.0, 0.25, 1, 0]),
        ([1.0, 1, 1, 1], [2.0, 2, 2, np.inf], [0.0, 0, 0, 0]),
    ],
)
def test_improvements_by_hand(before, after, expected):
    before_P, after_P = jnp.array(before), jnp.array(after)
    success_P = (after_P < before_P) & jnp.isfinite(before_P)
    np.testing.assert_allclose(
        adaptive.improvements(before_P, after_P, success_P), expected, rtol=1e-6
    )


def test_the_best_are_two_at_least():
    share_P = jnp.array([0.0, 0.05, 0.5, 1.0])
    assert top_count(share_P, 20).tolist() == [2, 2, 10, 20]
    assert top_count(share_P, jnp.int32(4)).tolist() == [2, 2, 2, 4]


@functools.partial(jax.jit, static_argnums=0)
def filled(rows: int, key, held, enters_P, capacity):
    """An archive of 1, 2, ... that takes 101, 102, ..."""
    old = jnp.arange(1.0, rows + 1)[:, None] * jnp.ones((1, 2))
    new = jnp.arange(101.0, 101 + enters_P.shape[0])[:, None] * jnp.ones((1, 2))
    return archived(key, Archive(old, held), new, enters_P, capacity)


flags = st.lists(st.booleans(), min_size=6, max_size=6)


@settings(deadline=None, max_examples=60)
@given(held=flags, enters=flags, capacity=st.integers(0, 6), seed=st.integers(0, 99))
def test_an_archive_holds_old_and_new_up_to_its_capacity(held, enters, capacity, seed):
    key, held, enters = jax.random.key(seed), np.array(held), np.array(enters)
    after = filled(6, key, jnp.asarray(held), jnp.asarray(enters), jnp.int32(capacity))
    inside = np.asarray(after.vectors)[np.asarray(after.held)]
    candidates = {*(np.flatnonzero(held) + 1.0), *(np.flatnonzero(enters) + 101.0)}
    assert len(inside) == min(len(candidates), capacity)
    assert len({row[0] for row in inside}) == len(inside)
    assert {row[0] for row in inside} <= candidates
    # Those that stay are where they were.
    stayed = inside[:, 0] < 100
    assert (np.flatnonzero(after.held)[stayed] + 1 == inside[stayed, 0]).all()


def test_an_archive_leaves_out_uniformly():
    held, enters = jnp.array([True] * 5 + [False]), jnp.array([True] * 3 + [False] * 3)

    def draw(key):
        after = filled(6, key, held, enters, jnp.int32(4))
        return jnp.where(after.held, after.vectors[:, 0], 0.0)

    seen = np.bincount(many(draw).astype(int).ravel(), minlength=104)
    names = [1, 2, 3, 4, 5, 101, 102, 103]
    assert seen[names].sum() == seen[1:].sum() == 4 * DRAWS
    assert scipy.stats.chisquare(seen[names]).pvalue > 1e-4


def test_mutants_are_current_to_pbest_with_the_archive():
    rng = np.random.default_rng(3)
    members, kept = rng.normal(size=(6, 3)), rng.normal(size=(4, 3))
    held, weight = np.array([False, True, False, True]), rng.uniform(0.2, 1, 6)
    fitness = np.array([4.0, 1, np.inf, 2, 9, 3])
    arguments = [
        jnp.asarray(part, part.dtype if part.dtype == bool else jnp.float32)
        for part in (members, fitness, kept, held, weight)
    ]

    def draw(key):
        population, loss, vectors, inside, weights = arguments
        archive = Archive(vectors, inside)
        top = jnp.full(6, 2)
        return current_to_pbest(
            key, population, loss, archive, weight_P=weights, top_P=top, count=5
        )

    mutants = many(draw, count=600)
    for i in range(5):  # of 6 rows only 5 are members
        partners = {k: members[k] for k in range(5)} | {10 + k: kept[k] for k in (1, 3)}
        explained = [
            members[i] + weight[i] * (members[best] - members[i] + members[first] - partners[other])
            for best in (1, 3)
            for first in range(5)
            for other in partners
            if first != i and other not in (i, first)
        ]
        assert len(explained) == 2 * 4 * 5
        distance = np.abs(mutants[:, i, None] - np.stack(explained)[None]).max(-1)
        assert distance.min(axis=1).max() < 1e-5  # nothing else is drawn
        assert distance.min(axis=0).max() < 1e-5  # and all of them are
