"""What the header says of the mesh."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxalign.model import parameter_bytes, quantize
from jaxalign.run.announce import describe_mesh

HINT = "model.quantization=int8 with mesh.model=1"


@pytest.mark.parametrize("model", [1, 2])
def test_8_bit_weights_are_proposed_where_they_spare_a_split_of_the_model(tiny_problem, model):
    mesh = jax.sharding.AbstractMesh((2, model), ("population", "model"))
    problem = dataclasses.replace(tiny_problem, mesh=mesh)
    small = parameter_bytes(quantize(tiny_problem.weights, "int8", keep=True))
    assert small < parameter_bytes(tiny_problem.weights)
    enough, too_little = int(small / 0.75) + 1, int(small / 0.75) - 1
    assert describe_mesh(problem, None) == f"candidates over 2 x weights over {model} devices"
    assert (HINT in describe_mesh(problem, enough)) == (model == 2)
    assert HINT not in describe_mesh(problem, too_little)
    done = dataclasses.replace(problem, full_naive_QA=np.zeros(1))
    assert HINT not in describe_mesh(done, enough)
