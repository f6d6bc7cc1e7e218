"""The choice of a mesh: what fits is taken, and what cannot work is refused with the arithmetic."""

import logging
import re
from pathlib import Path

import pytest

from jaxalign.config import base, freeze, to_plain
from jaxalign.devices.mesh import choose_shape
from jaxalign.errors import UserError
from jaxalign.model import abstract_model, parameter_bytes, parse_config, split_sizes
from jaxalign.run.random_weights import SHAPES
from jaxalign.run.resume import check_same_run, warn_of_changes

GIB = 2**30


def choose(asked, devices, memory_gib=None, candidates=64, shape="llama3-8b"):
    config = parse_config(SHAPES[shape], shape)
    weights = parameter_bytes(abstract_model(config, "bfloat16")[1])
    memory = memory_gib and memory_gib * GIB
    return choose_shape(asked, devices, candidates, split_sizes(config), weights, memory)


@pytest.mark.parametrize(
    ("devices", "memory_gib", "shape", "expected"),
    [
        (1, None, "llama3-8b", (1, 1)),
        (8, None, "llama3-8b", (8, 1)),
        (8, 80, "llama3-8b", (8, 1)),
        (2, 16, "llama3-8b", (1, 2)),  # 15.0 GiB of weights want two chips of 16
        (8, 16, "llama3-8b", (4, 2)),
        (8, 80, "llama3-70b", (2, 4)),  # 131 GiB
        (8, 32, "llama3-70b", (1, 8)),
        (32, 32, "llama3-70b", (4, 8)),
        (6, 80, "llama3-8b", (6, 1)),
        (6, 16, "llama3-8b", (3, 2)),
        (3, 16, "llama3-8b", (1, 2)),  # 3 splits no head, and whole weights would leave no room
    ],
)
def test_what_is_left_open_suits_the_devices_and_the_weights(devices, memory_gib, shape, expected):
    assert choose((0, 0), devices, memory_gib, shape=shape) == expected


def test_no_more_devices_than_candidates_along_the_population():
    assert choose((0, 0), 8, candidates=3) == (2, 4)  # all devices; 3 x 2 would leave two
    assert choose((0, 1), 8, candidates=3) == (3, 1)


@pytest.mark.parametrize("asked", [(8, 1), (4, 2), (2, 4), (1, 8), (1, 1), (2, 2)])
def test_what_is_asked_for_is_taken(asked):
    assert choose(asked, 8) == asked


def test_one_key_leaves_the_other_open():
    assert choose((0, 4), 8) == (2, 4)
    assert choose((2, 0), 8) == (2, 4)
    assert choose((2, 0), 2) == (2, 1)


@pytest.mark.parametrize(
    ("asked", "devices", "options", "words"),
    [
        ((4, 4), 8, {}, "4 × 4 = 16 devices, and there are 8"),
        ((1, 16), 8, {}, "there are 8 devices"),
        ((16, 0), 8, {}, "16 × 1 = 16 devices, and there are 8"),
        ((1, 3), 8, {}, "32 heads = 10 × 3 + 2"),
        ((1, 16), 16, {}, "8 key/value heads = 0 × 16 + 8; mesh.model can be 1, 2, 4 or 8"),
        ((8, 1), 8, {"candidates": 6}, "8 devices along population for 6 candidates"),
        ((1, 1), 8, {"memory_gib": 12}, "15.0 GiB of weights / 1 = 15.0 GiB a device, which has"),
        ((0, 0), 8, {"memory_gib": 16, "shape": "llama3-70b"}, "131.4 GiB of weights / 8 = 16.4"),
    ],
)
def test_a_mesh_that_cannot_work_is_refused_with_the_arithmetic(asked, devices, options, words):
    with pytest.raises(UserError, match=re.escape(words)) as fault:
        choose(asked, devices, **options)
    line = str(fault.value)
    assert f"mesh.population={asked[0]}, mesh.model={asked[1]}" in line and "\n" not in line


def record(mesh, **keys):
    config = base("embedded")
    config.country = "SA"
    config.update_from_flattened_dict(keys)
    return {
        "config": to_plain(freeze(config)),
        "resolved": {"chunk": 4, "spread": 0.1, "mesh": list(mesh)},
        "digests": {"target": "a"},
        "versions": {},
        "device": "some",
    }


def test_a_run_may_go_on_on_another_mesh_and_with_another_chunk_there(caplog):
    old, new = record((1, 1)), record((4, 2), **{"mesh.population": 4, "evaluation.chunk": 2})
    arguments = new["config"], new["digests"], 64, Path("run")
    check_same_run(old, *arguments, (4, 2))
    with pytest.raises(UserError, match=r"evaluation\.chunk was 4, now 2"):
        check_same_run(old, *arguments, (1, 1))
    with caplog.at_level(logging.WARNING):
        warn_of_changes(old, new)
    assert "the mesh was 1 x 1, now 4 x 2" in caplog.text
    del old["resolved"]["mesh"]  # a run from before there were meshes
    caplog.clear()
    warn_of_changes(old, record((1, 1)))
    assert not caplog.text
