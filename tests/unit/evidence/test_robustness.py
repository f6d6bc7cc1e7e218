"""Statistics over presentations, by hand and on data whose structure is known."""

import numpy as np
import pytest

from jaxalign.evidence.robustness import (
    ALONE,
    CHOOSE,
    TEST,
    TUNE,
    Way,
    explained_by,
    interval_over_levels,
    mean_losses,
    ways_to_ask,
)
from jaxalign.prompts import FACTORS, read_levels
from jaxalign.survey import load_instrument

LEVELS = read_levels(load_instrument("vsm13"))


def levels(orders, systems):
    names = dict.fromkeys(FACTORS, "")
    return [names | {"order": o, "system": s} for o in orders for s in systems]


def test_all_variance_lies_between_the_levels_that_make_it():
    rows = levels(["identity", "reversed"], ["brief", "survey", "honest"])
    order_W = np.array([row["order"] == "reversed" for row in rows], float)
    found = explained_by(rows, 10 + 4 * order_W)
    assert found["order"] == pytest.approx(1) and found["system"] == pytest.approx(0)
    assert found["labels"] is None  # has one level
    system_W = np.array([{"brief": 0, "survey": 1, "honest": 2}[row["system"]] for row in rows])
    found = explained_by(rows, order_W + system_W)
    # Variances of two balanced factors add up: 1/4 and 2/3.
    assert found["order"] == pytest.approx((1 / 4) / (1 / 4 + 2 / 3))
    assert found["system"] == pytest.approx((2 / 3) / (1 / 4 + 2 / 3))
    assert explained_by(rows, np.ones(6))["order"] is None


def test_the_interval_over_levels_is_that_of_the_levels_that_matter():
    twenty = list(map(str, range(20)))
    rows = levels(["identity"], twenty)
    loss_W = np.random.default_rng(0).normal(50, 10, 20)
    low, high = interval_over_levels(rows, loss_W, 0)
    # One factor of 20 levels: the ordinary bootstrap of a mean of 20.
    half = 1.96 * loss_W.std() / np.sqrt(20)
    assert low == pytest.approx(loss_W.mean() - half, abs=1) and high == pytest.approx(
        loss_W.mean() + half, abs=1
    )
    # The same losses twenty times over, in presentations that share their level, prove no more.
    twice = levels(twenty, twenty)
    wide = interval_over_levels(twice, np.tile(loss_W, 20), 0)
    assert wide[1] - wide[0] > 0.9 * (high - low)
    assert interval_over_levels(rows, np.full(20, 7.0), 0) == pytest.approx((7, 7))


def test_means_are_those_of_the_sets():
    names = {
        TUNE: ["identity", "reversed"],
        CHOOSE: ["cyclic1"],
        TEST: ["cyclic2", "cyclic3"],
        ALONE: ["identity@plain"],
    }
    ways = [Way(part, LEVELS.parse(name)) for part, each in names.items() for name in each]
    loss_W = np.array([1.0, 3.0, 100.0, 10.0, 20.0, 1000.0])
    found = mean_losses(ways, loss_W, np.array([0.0, 0.0, 0.0, 4.0, 6.0, 0.0]), 0)
    assert found["difference"] == {"mean": -10, "interval": (-14, -6)}
    assert (found["seen"], found["held_out"]) == (2, 15)
    assert (found["worst"], found["worst_name"]) == (20, "cyclic3")
    low, high = found["interval"]
    assert low == 10 and high == 20  # two presentations can prove no more


def test_each_level_of_the_test_is_also_asked_alone(tiny_problem):
    ways = ways_to_ask(tiny_problem, [load_instrument("vsm13-hindi")])
    by_part = {
        part: [way.presentation for way in ways if way.part == part]
        for part in (TUNE, CHOOSE, TEST, ALONE)
    }
    assert by_part[TUNE] == list(tiny_problem.sets.tune)
    assert by_part[TEST][-1].name == "identity@vsm13-hindi"
    tested = {level for way in tiny_problem.sets.test for level in way.levels.items()}
    singly = {level for way in by_part[ALONE] for level in way.levels.items()}
    assert tested <= singly
    for way in by_part[ALONE]:
        assert sum(level in tested for level in way.levels.items()) == 1
