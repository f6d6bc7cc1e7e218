"""Traces of the generations that were asked for, and of no others."""

import contextlib
import gzip
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxalign.devices.profiling import Profile, parse_bounds
from jaxalign.errors import UserError


def traced(folder: Path, bounds, first: int, last: int, error: bool = False) -> list[list[int]]:
    """Steps named in each trace that a search from `first` to `last` has left."""

    @jax.jit
    def grow(x):
        return jnp.tanh(x @ x)

    state = jnp.eye(64)
    with contextlib.suppress(KeyboardInterrupt), Profile(bounds, folder) as profile:
        for generation in range(first, last):
            profile.reached(generation, state)
            state = jax.block_until_ready(grow(state))
        if error:
            raise KeyboardInterrupt
    steps = []
    for path in sorted(folder.rglob("*trace.json.gz")):
        if "perfetto" in path.name:
            continue
        rows = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
        named = [row["args"] for row in rows if row.get("name") == "generation"]
        steps.append(sorted(int(arguments["step_num"]) for arguments in named))
        assert any("jit_grow" in json.dumps(row) for row in rows)  # what ran, not only our names
    return steps


@pytest.mark.parametrize(
    ("bounds", "first", "last", "steps"),
    [
        ((1, 3), 0, 5, [[2, 3]]),
        ((0, 2), 0, 2, [[1, 2]]),
        ((1, 5), 3, 6, [[4, 5]]),  # a run that goes on in between
        ((1, 3), 4, 6, []),  # and one that goes on after it
        ((2, 9), 0, 4, [[3, 4]]),  # and one that is stopped before its end
        (None, 0, 3, []),
    ],
)
def test_the_trace_names_the_generations_between(tmp_path, bounds, first, last, steps):
    assert traced(tmp_path, bounds, first, last) == steps


def test_an_error_leaves_what_there_is(tmp_path):
    assert traced(tmp_path, (1, 9), 0, 4, error=True) == [[2, 3, 4]]


def test_bounds():
    assert parse_bounds(None, 10) is None
    assert parse_bounds("0:10", 10) == (0, 10)


@pytest.mark.parametrize(
    "text", ["", "3", "3:3", "4:3", "3:", ":3", "-1:2", "0:11", "a:b", "1:2:3"]
)
def test_wrong_bounds_are_told(text):
    with pytest.raises(UserError, match=f"--profile={text}: give START:STOP.*none after 10"):
        parse_bounds(text, 10)
