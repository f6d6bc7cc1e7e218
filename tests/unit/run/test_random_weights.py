"""Random weights of a shape: the published sizes, and the same questions."""

from types import SimpleNamespace

import jax
import pytest

from jaxalign.benchmark import linear_parameters
from jaxalign.config import freeze
from jaxalign.devices.memory import available_bytes
from jaxalign.errors import UserError
from jaxalign.model import abstract_model, parameter_bytes, parameter_count, parse_config
from jaxalign.run import random_weights
from jaxalign.run.random_weights import RANDOM_NOTICE, SHAPES, with_random_weights
from jaxalign.search import mean_norm


@pytest.mark.parametrize(
    ("shape", "parameters", "linear"),
    [
        ("llama3-1b", 1_235_814_400, 973_078_528),
        ("llama3-3b", 3_212_749_824, 2_818_572_288),
        ("llama3-8b", 8_030_261_248, 6_979_321_856),
        ("llama3-70b", 70_553_706_496, 68_451_041_280),
    ],
)
def test_the_shapes_are_those_of_the_published_models(shape, parameters, linear):
    _, weights = abstract_model(parse_config(SHAPES[shape], shape), "bfloat16")
    assert parameter_count(weights) == parameters
    assert linear_parameters(weights) == linear


def test_another_shape_keeps_the_questions(tiny_config, tiny_problem, small_shape):
    problem = with_random_weights(freeze(tiny_config), tiny_problem, small_shape)
    assert problem.questions is tiny_problem.questions and problem.notice == RANDOM_NOTICE
    embedding = problem.weights["embedding"][...]
    assert embedding.shape == (1000, 16) and problem.model_config.layers == 3
    assert problem.task.goal.row_norm == pytest.approx(mean_norm(embedding))


def test_too_little_memory_is_reported_with_the_arithmetic(tiny_config, tiny_problem, monkeypatch):
    """Before anything is allocated: the shape would need 263 GiB here."""
    monkeypatch.setattr(random_weights, "available_bytes", lambda device: 2**34)
    with pytest.raises(UserError) as caught:
        with_random_weights(freeze(tiny_config), tiny_problem, "llama3-70b")
    for words in (
        "--model=llama3-70b: 70,553,706,496 parameters x 4 bytes (float32) are 262.8 GiB",
        "has 16.0 GiB left",
        "model.dtype=bfloat16",
    ):
        assert words in str(caught.value)


def test_weights_that_fit_are_accepted(tiny_config, tiny_problem, small_shape, monkeypatch):
    _, weights = abstract_model(parse_config(SHAPES[small_shape], small_shape), "float32")
    monkeypatch.setattr(
        "jaxalign.run.random_weights.available_bytes", lambda _: parameter_bytes(weights)
    )
    with_random_weights(freeze(tiny_config), tiny_problem, small_shape)
    monkeypatch.setattr(
        "jaxalign.run.random_weights.available_bytes", lambda _: None
    )  # nothing tells
    with_random_weights(freeze(tiny_config), tiny_problem, small_shape)
    monkeypatch.setattr(
        "jaxalign.run.random_weights.available_bytes", lambda _: parameter_bytes(weights) - 1
    )
    with pytest.raises(UserError, match="--model=small"):
        with_random_weights(freeze(tiny_config), tiny_problem, small_shape)


def test_the_memory_that_is_left():
    left = available_bytes(jax.devices("cpu")[0])
    assert left is None or 2**20 < left < 2**50
    statistics = {"bytes_limit": 100, "bytes_in_use": 30}
    for told, expected in ((statistics, 70), (None, None)):
        device = SimpleNamespace(platform="gpu", memory_stats=lambda told=told: told)
        assert available_bytes(device) == expected


def test_too_few_tokens_are_refused(tiny_config, tiny_problem, small_shape, monkeypatch):
    monkeypatch.setitem(SHAPES[small_shape], "vocab_size", 100)
    with pytest.raises(UserError, match="--model=small has 100 tokens"):
        with_random_weights(freeze(tiny_config), tiny_problem, small_shape)
