"""Random weights of a shape: the published sizes, and the same questions."""

import pytest

from jaxalign.errors import UserError
from jaxalign.model import abstract_model, parameter_count, parse_config
from jaxalign.search import mean_norm
from jaxalign.shapes import RANDOM_NOTICE, SHAPES, with_random_weights
from jaxalign.throughput import linear_parameters


@pytest.mark.parametrize(
    ("shape", "parameters", "linear"),
    [
        ("llama3-1b", 1_235_814_400, 973_078_528),
        ("llama3-3b", 3_212_749_824, 2_818_572_288),
        ("llama3-8b", 8_030_261_248, 6_979_321_856),
    ],
)
def test_the_shapes_are_those_of_the_published_models(shape, parameters, linear):
    _, weights = abstract_model(parse_config(SHAPES[shape], shape), "bfloat16")
    assert parameter_count(weights) == parameters
    assert linear_parameters(weights) == linear


def test_another_shape_keeps_the_questions(tiny_config, tiny_problem, small_shape):
    problem = with_random_weights(tiny_config, tiny_problem, small_shape)
    assert problem.questions is tiny_problem.questions and problem.notice == RANDOM_NOTICE
    embedding = problem.weights["embedding"][...]
    assert embedding.shape == (1000, 16) and problem.model_config.layers == 3
    assert problem.task.row_norm == pytest.approx(mean_norm(embedding))


def test_too_few_tokens_are_refused(tiny_config, tiny_problem, small_shape, monkeypatch):
    monkeypatch.setitem(SHAPES[small_shape], "vocab_size", 100)
    with pytest.raises(UserError, match="--model=small has 100 tokens"):
        with_random_weights(tiny_config, tiny_problem, small_shape)
