"""Operations: the formula beside a trace that multiplies loops out, and XLA beside both."""

import jax
import numpy as np
import pytest
from flax import nnx

from jaxalign.fitness import answer_logits
from jaxalign.gradient import _operations
from jaxalign.model import abstract_model, parse_config
from jaxalign.shapes import SHAPES
from jaxalign.throughput.counts import counted_flop, predicted_flop

LENGTH = 5


@pytest.fixture
def model():
    return parse_config(SHAPES["4x256"], "4x256")


def test_formula_and_xla_count_what_the_traced_program_does(tiny_problem, model):
    graphdef, weights = abstract_model(model, "float32")
    prompt_LD = jax.ShapeDtypeStruct((LENGTH, model.width), np.float32)

    def answer(weights, task, prompt_LD):
        return answer_logits(nnx.merge(graphdef, weights), task, prompt_LD)

    traced = _operations(jax.make_jaxpr(answer)(weights, tiny_problem.task, prompt_LD))
    flop = predicted_flop(model, tiny_problem.task, LENGTH)
    dense = flop["linear"] + flop["attention_dense"]
    assert dense < traced == pytest.approx(dense, rel=0.05)
    xla = counted_flop(model, "float32", tiny_problem.task, LENGTH, "xla")
    assert dense < xla == pytest.approx(traced, rel=0.03)


def test_attention_along_the_trie_is_counted_pair_by_pair(tiny_problem, model):
    trie = tiny_problem.questions.trie
    rows = [LENGTH + depth + 1 for depth in trie.positions_T]
    prompt = sum(range(1, LENGTH + 1))
    read = sum(rows[node] for node in trie.answer_nodes_Q)
    pairs = (model.layers - 1) * (prompt + sum(rows)) + read
    flop = predicted_flop(model, tiny_problem.task, LENGTH)
    assert flop["attention"] == 4 * model.heads * model.head_dim * pairs
    assert flop["attention"] < flop["attention_dense"] / 3
