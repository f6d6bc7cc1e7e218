"""The compiled forward computes what the formula counts, and holds no more than a chunk."""

import jax
import jax.numpy as jnp
import pytest

from jaxalign.fitness import Evaluator, Execution
from jaxalign.model import parse_config, random_model
from jaxalign.model.cost import candidate_flop, shared_flop
from jaxalign.objective import Objective
from jaxalign.run.random_weights import SHAPES

LENGTH = 16


def compiled(problem, config, population: int, chunk: int = 1, **execution):
    graphdef, weights = random_model(config, "float32", 0)
    evaluator = Evaluator(graphdef, Objective(), Execution(chunk, **execution))
    prompts_PLD = jnp.zeros((population, LENGTH, config.width))
    arguments = (weights, problem.task, prompts_PLD)
    return jax.jit(evaluator).lower(*arguments, key=jax.random.key(0)).compile()


def small(layers: int):
    return parse_config(SHAPES["4x256"] | {"num_hidden_layers": layers}, "small")


# XLA counts the body of a loop once: with one candidate and at most one scanned layer that is all.
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_nothing_is_computed_twice(tiny_problem, layers):
    config = small(layers)
    tree = tiny_problem.task.layout.tree
    answers = len(tiny_problem.questions.answer_ids_QA)
    formula = candidate_flop(config, LENGTH, tree, answers) + shared_flop(config, tree)
    counted = compiled(tiny_problem, config, 1).cost_analysis()["flops"]
    assert 1.0 <= counted / formula < 1.1


def test_dense_attention_computes_more(tiny_problem):
    config = small(3)
    blocks, dense = (
        compiled(tiny_problem, config, 1, attention=name).cost_analysis()["flops"]
        for name in ("blocks", "xla")
    )
    assert dense > 1.2 * blocks


def test_memory_is_that_of_a_chunk(tiny_problem):
    config = small(2)
    of_8, of_128 = (
        compiled(tiny_problem, config, population, 2).memory_analysis().temp_size_in_bytes
        for population in (8, 128)
    )
    # What grows are the answers, a few hundred numbers a candidate.
    answers = tiny_problem.questions.answer_ids_QA.size * 4
    assert of_128 - of_8 < 20 * 120 * answers
    assert of_128 < 1.2 * of_8
