"""When a search ends before its last generation, by the lines of metrics.jsonl."""

import pytest

from jaxalign.run.early_end import EarlyEnd


def alone(*losses):
    return [{"generation": n, "best_loss": loss} for n, loss in enumerate(losses)]


def together(*pairs):
    return [
        {
            "generation": n,
            "best_loss": sum(pair) / 2,
            "countries": {"SA": {"best_loss": pair[0]}, "US": {"best_loss": pair[1]}},
        }
        for n, pair in enumerate(pairs)
    ]


@pytest.mark.parametrize(
    ("losses", "generation", "reason"),
    [
        ([9, 0.5], 2, "stop_loss"),
        ([9, 0.51], 2, None),
        ([9, 0.5], 1, None),  # its own record does not count
        ([None], 1, None),
        ([], 0, None),
    ],
)
def test_one_country_is_good_enough(losses, generation, reason):
    assert EarlyEnd(("SA",), {"SA": 0.5}, 0).reason(alone(*losses), generation) == reason


def test_all_countries_must_be_good_enough():
    rule = EarlyEnd(("SA", "US"), {"SA": 0.5, "US": 0.2}, 0)
    assert rule.reason(together((9, 9), (0.1, 0.3)), 2) is None
    assert rule.reason(together((9, 9), (0.5, 0.2)), 2) == "stop_loss"


@pytest.mark.parametrize(
    ("losses", "reason"),
    [([5, 4, 4], None), ([5, 4, 4, 4], "patience"), ([4, 4], None), ([4, 4, 4, 3], None)],
)
def test_patience_counts_generations_without_a_change(losses, reason):
    assert EarlyEnd(("SA",), {}, 2).reason(alone(*losses), len(losses)) == reason
    assert EarlyEnd(("SA",), {}, 0).reason(alone(*losses), len(losses)) is None


def test_one_country_that_moves_is_enough():
    rule = EarlyEnd(("SA", "US"), {}, 2)
    assert rule.reason(together((4, 4), (4, 3), (4, 2), (4, 1)), 4) is None
    assert rule.reason(together((4, 4), (4, 1), (4, 1), (4, 1)), 4) == "patience"
