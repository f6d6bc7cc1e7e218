"""Tests and intervals against scipy, formulas written out, and what they promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jaxalign.evidence.statistics import (
    bootstrap_mean,
    holm,
    mcnemar,
    wilson,
)


@settings(max_examples=50, deadline=None)
@given(b=st.integers(0, 40), c=st.integers(0, 40), same=st.integers(0, 5))
def test_mcnemar_is_the_binomial_tail(b, c, same):
    first = np.array([True] * b + [False] * c + [True] * same + [False] * same, bool)
    second = np.array([False] * b + [True] * c + [True] * same + [False] * same, bool)
    result = mcnemar(first, second)
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert result[:2] == (b, c)
    assert result.p == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(second, first) == (c, b, result.p)


def test_mcnemar_refuses_what_is_no_pair_of_answers():
    for other in (np.zeros(3, bool), np.zeros(4), np.zeros((2, 2), bool)):
        with pytest.raises(ValueError, match="two bool vectors"):
            mcnemar(np.zeros(4, bool), other)


@pytest.mark.parametrize(("right", "n"), [(0, 17), (9, 17), (17, 17), (300, 1227)])
def test_wilson_by_its_formula(right, n):
    z, p = stats.norm.ppf(0.975), right / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    interval = wilson(np.arange(n) < right)
    assert interval == pytest.approx((centre - half, centre + half), abs=1e-12)
    assert interval.low < interval.high


def test_the_bootstrap_of_a_mean_is_about_normal_for_many_values():
    values = np.random.default_rng(0).gamma(2.0, size=500)
    low, high = bootstrap_mean(values, seed=1)
    half = 1.96 * values.std() / math.sqrt(500)
    assert low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    hits = 0
    for seed in range(200):
        low, high = bootstrap_mean(rng.random(60) < 0.4, seed, resamples=500)
        hits += low <= 0.4 <= high
    assert 0.89 <= hits / 200 <= 0.985


def test_seeds_and_levels_of_the_bootstrap():
    values = np.random.default_rng(0).random(30)
    assert bootstrap_mean(values, 5) == bootstrap_mean(values, 5) != bootstrap_mean(values, 6)
    narrow, wide = bootstrap_mean(values, 5, level=0.5), bootstrap_mean(values, 5, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_values_without_spread_give_no_width():
    assert bootstrap_mean(np.array([True]), 0) == (1.0, 1.0)
    assert bootstrap_mean(np.zeros(20, bool), 0) == (0.0, 0.0)
    with pytest.raises(ValueError):
        bootstrap_mean(np.array([]), 0)


@settings(max_examples=100, deadline=None)
@given(
    p_values=st.lists(st.floats(0, 1), max_size=6),
    level=st.sampled_from([0.01, 0.05, 0.2]),
)
def test_holm_rejects_what_stepping_down_rejects(p_values, level):
    adjusted = holm(p_values)
    left, rejected = sorted(range(len(p_values)), key=p_values.__getitem__), set()
    while left and p_values[left[0]] * len(left) <= level:
        rejected.add(left.pop(0))
    assert {index for index, p in enumerate(adjusted) if p <= level} == rejected
    assert all(p <= after <= 1 for p, after in zip(p_values, adjusted, strict=True))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
