"""Which cases of a parametrised test the unit tier runs, and which the nightly tier adds."""

import os
from collections.abc import Iterable
from typing import Any

NIGHTLY = bool(os.environ.get("JAXALIGN_NIGHTLY"))  # set by launch/test.sh --nightly


def every(cases: Iterable[Any], *few: Any) -> list[Any]:
    """Return all cases in the nightly tier, and a few of them otherwise."""
    cases = list(cases)
    assert all(case in cases for case in few)
    return cases if NIGHTLY else list(few)


def first(count: int, cases: Iterable[Any]) -> list[Any]:
    """Return all cases in the nightly tier, and the first ones otherwise."""
    return list(cases) if NIGHTLY else list(cases)[:count]
