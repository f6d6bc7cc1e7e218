"""Sweeps: what is typed becomes a grid of configs, and mistakes are told before anything runs."""

import pytest

from jaxalign.benchmark import make_points, sweep
from jaxalign.benchmark.points import describe
from jaxalign.config import base, freeze
from jaxalign.errors import UserError


@pytest.fixture
def config():
    config = base("embedded")
    config.country = "SA"
    return config


def test_sweeps_make_a_grid(config):
    points = make_points(
        freeze(config), ["population=16,64", "prompt.length=4,8", "dtype=bfloat16"]
    )
    assert [describe(point.swept) for point in points] == [
        "population=16 length=4 dtype=bfloat16",
        "population=16 length=8 dtype=bfloat16",
        "population=64 length=4 dtype=bfloat16",
        "population=64 length=8 dtype=bfloat16",
    ]
    for point in points:
        assert list(point.swept) == ["search.population", "prompt.length", "model.dtype"]
        own = point.settings
        assert [own.search.population, own.prompt.length, own.model.dtype] == [
            *point.swept.values()
        ]
        assert own.evaluation.chunk == config.evaluation.chunk
    assert config.search.population == 16 and config.model.dtype == "float32"


def test_nothing_swept_is_the_config_itself(config):
    (point,) = make_points(freeze(config), [])
    assert point.swept == {} and point.settings == freeze(config)


def test_an_end_of_two_keys_is_refused(config, monkeypatch):
    monkeypatch.setattr(sweep, "_MEANT", {})
    with pytest.raises(UserError, match=r"search\.population, mesh\.population"):
        make_points(freeze(config), ["population=16"])


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["population"], "write KEY=VALUE"),
        (["population=16,"], "write KEY=VALUE"),
        (["populaton=16"], "populaton names no key"),
        (["population=16,many"], "must be of type int"),
        (["population=16,16"], "twice"),
        (["population=16", "search.population=8"], "search.population is swept twice"),
        (["chunk=-1"], "evaluation.chunk=-1"),
        (["population=2", "strategy=DifferentialEvolution"], "population"),
    ],
    ids=str,
)
def test_mistakes(config, typed, words):
    with pytest.raises(UserError, match="--sweep") as caught:
        make_points(freeze(config), typed)
    assert words in str(caught.value)
