"""Operations: the formula beside a trace that multiplies loops out, and XLA beside both."""

import jax
import numpy as np
import pytest
from flax import nnx

from jaxalign.benchmark.counts import counted_flop
from jaxalign.fitness.readout import answer_logits
from jaxalign.model import abstract_model, parse_config
from jaxalign.model.cost import candidate_flop, shared_flop
from jaxalign.run.random_weights import SHAPES
from jaxalign.search.gradient import _operations

LENGTH = 5


@pytest.mark.parametrize("layers", [2, 4])
def test_formula_and_xla_count_what_the_traced_program_does(tiny_problem, layers):
    model = parse_config(SHAPES["4x256"] | {"num_hidden_layers": layers}, "model")
    graphdef, weights = abstract_model(model, "float32")
    prompt_LD = jax.ShapeDtypeStruct((LENGTH, model.width), np.float32)
    layout = tiny_problem.task.layout

    def answer(weights, layout, prompt_LD):
        return answer_logits(nnx.merge(graphdef, weights), layout, prompt_LD)

    traced = _operations(jax.make_jaxpr(answer)(weights, layout, prompt_LD))
    formula = candidate_flop(model, LENGTH, layout.tree, len(layout.answer_nodes_Q))
    formula += shared_flop(model, layout.tree)
    assert formula < traced == pytest.approx(formula, rel=0.05)
    xla = counted_flop(model, "float32", layout, LENGTH, "auto")
    assert formula < xla == pytest.approx(traced, rel=0.03)
