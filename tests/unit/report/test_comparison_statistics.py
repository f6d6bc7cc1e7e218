"""Statistics of a comparison, worked out by hand."""

import math

import numpy as np
import pytest
from comparison_runs import BUDGET, make_run, summary_of
from hypothesis import given
from hypothesis import strategies as st

from jaxalign.report.comparison import (
    summarise,
)
from jaxalign.report.comparison.statistics import area, loss_at, quartiles, reached


def test_the_best_loss_is_a_step_function_of_evaluations():
    run = make_run(60.0, 30.0)
    at = {evaluations: loss_at(run, evaluations) for evaluations in (0, 19, 20, 39, 40, 1000)}
    assert at == {0: math.inf, 19: math.inf, 20: 60.0, 39: 60.0, 40: 30.0, 1000: 30.0}


def test_a_goal_is_reached_at_the_first_point_that_is_not_above_it():
    run = make_run(60.0, 40.0, 30.0, 8.0)
    assert reached(run, 40.0, BUDGET) == 40
    assert reached(run, 39.9, BUDGET) == 60
    assert reached(run, 8.0, 80) == 80
    assert reached(run, 8.0, 79) == math.inf
    assert reached(run, 7.9, BUDGET) == math.inf


def test_the_area_by_hand():
    """20 × 80 (naive), 20 × 60, 60 × 20; of 100 × 80."""
    assert area(make_run(60.0, 20.0), BUDGET) == pytest.approx((1600 + 1200 + 1200) / 8000)


def test_the_area_ends_at_the_budget():
    """At 30: 20 × 80 and 10 × 60; what comes later counts for nothing."""
    for run in (make_run(60.0, 1.0), make_run(60.0), make_run(60.0, 60.0, 60.0, 0.0)):
        assert area(run, 30) == pytest.approx((1600 + 600) / 2400)


def test_the_naive_loss_stands_where_all_failed():
    assert area(make_run(math.inf, math.inf, 20.0), BUDGET) == pytest.approx((60 + 40 / 4) / 100)
    assert area(make_run(math.inf), BUDGET) == 1


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=9))
def test_quartiles_are_numpys(values: list[float]):
    found = quartiles(values)
    expected = np.quantile(values, (0.25, 0.5, 0.75))
    np.testing.assert_allclose((found.low, found.median, found.high), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([math.inf, 1.0, 2.0], (1.5, 2.0, math.inf)),
        ([1.0, math.inf], (math.inf, math.inf, math.inf)),
        ([1.0, 2.0, 3.0, 4.0, math.inf], (2.0, 3.0, 4.0)),
        ([math.inf] * 3, (math.inf,) * 3),
    ],
)
def test_quartiles_with_failed_runs(values: list[float], expected: tuple[float, ...]):
    found = quartiles(values)
    assert (found.low, found.median, found.high) == expected


def test_a_summary_by_hand():
    runs = [
        make_run(60.0, 40.0, 30.0, 8.0, seed=0),
        make_run(60.0, 50.0, 40.0, 16.0, seed=1),
        make_run(40.0, 4.0, seed=2),
    ]
    line = summary_of(*runs)
    assert (line.loss.low, line.loss.median, line.loss.high) == (6.0, 8.0, 12.0)
    assert line.share == 8 / 80
    assert (line.half.evaluations, line.half.runs) == (40.0, 3)  # 40, 60, 20
    assert (line.tenth.evaluations, line.tenth.runs) == (80.0, 2)  # 80, never, 40
    # Sums of 20 × best / 80 / 100: 80 60 40 30 8, 80 60 50 40 16, 80 40 4 4 4.
    assert line.area == pytest.approx(20 * (80 + 60 + 40 + 30 + 8) / 8000)
    assert line.runs == 3


@pytest.mark.parametrize(
    ("ends", "evaluations", "arrived"),
    [
        ((1, 1, 1), 40, 3),
        ((1, 1, 70), 40, 2),
        ((1, 70, 70), math.inf, 1),
        ((1, 1, 70, 70), math.inf, 2),  # the median lies between 40 and beyond the budget
        ((70, 70), math.inf, 0),
    ],
)
def test_a_goal_that_half_of_the_runs_miss_has_no_median(ends, evaluations: float, arrived: int):
    runs = [make_run(75.0, float(end), seed=seed) for seed, end in enumerate(ends)]
    half = summary_of(*runs).half
    assert (half.evaluations, half.runs) == (evaluations, arrived)


def test_methods_are_ranked_by_their_median_share_over_countries_and_seeds():
    runs = [
        # Shares .5 and .1: median .3. Shares .2 and .2. Shares .2 and .2 by another naive loss.
        make_run(40.0, method="mixed", country="SA"),
        make_run(8.0, method="mixed", country="CN"),
        make_run(16.0, method="steady", country="SA"),
        make_run(16.0, method="steady", country="CN"),
        make_run(32.0, method="equal", country="SA", naive_loss=160.0),
        make_run(32.0, method="equal", country="CN", naive_loss=160.0),
        make_run(math.inf, method="broken", country="CN"),
    ]
    summaries = summarise(runs, BUDGET)
    ranks = [(line.rank, line.method) for line in summaries if line.country is None]
    assert ranks == [(1, "equal"), (1, "steady"), (3, "mixed"), (4, "broken")]
    order = [(line.method, line.country) for line in summaries]
    assert order[:3] == [("equal", None), ("equal", "SA"), ("equal", "CN")]
    assert order[-2:] == [("broken", None), ("broken", "CN")]
    assert summaries[6].share == pytest.approx(0.3)


def test_what_lies_beyond_the_budget_counts_for_nothing():
    long = summary_of(make_run(60.0, 40.0, 30.0, 20.0, 10.0, 1.0, 0.5))
    short = summary_of(make_run(60.0, 40.0, 30.0, 20.0, 10.0))
    assert long == short
