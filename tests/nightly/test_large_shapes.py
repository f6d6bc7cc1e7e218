"""Models that no device here could hold: laid over a mesh and compiled, with nothing allocated.

The CPU's compiler keeps float32 copies of bfloat16 weights, which no accelerator's does, so that
programs are compiled in float32: what is counted beside the weights is then twice what bfloat16
needs, or more, and the weights are counted in bfloat16 by the shapes of their parts.
"""

import json
import os
import subprocess
import sys

import pytest
from paths import ROOT

pytestmark = pytest.mark.nightly
GIB = 2**30

PROGRAM = r"""
import json, math, resource, sys
import jax, jax.numpy as jnp
from jaxalign.config import base, freeze
from jaxalign.fitness import Evaluator, Execution
from jaxalign.devices.mesh import everywhere, make_mesh
from jaxalign.model import abstract_model, parse_config, sharding_over
from jaxalign.model.abstract import named_leaves, with_leaves
from jaxalign.problem import load_problem
from jaxalign.run.random_weights import SHAPES

config = base("embedded")
config.country = "SA"
config.mesh.population = config.mesh.model = 1
problem = load_problem(freeze(config))
P, L = 64, 16
told = []
for shape, population, model, chunk in json.loads(sys.argv[1]):
    mesh = make_mesh(population, model)
    model_config = parse_config(SHAPES[shape], shape)
    graphdef, abstract = abstract_model(model_config, "float32")
    where = sharding_over(mesh)

    def laid(name, leaf):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where(name, leaf.shape))

    leaves = named_leaves(abstract).items()
    weights = with_leaves(abstract, {name: laid(name, leaf) for name, leaf in leaves})
    copied = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere(mesh))
    task = jax.tree.map(copied, problem.task)
    prompts = copied(jax.ShapeDtypeStruct((P, L, model_config.width), jnp.float32))
    key = copied(jax.eval_shape(jax.random.key, 0))
    evaluator = Evaluator(graphdef, problem.objective, Execution(chunk, mesh=mesh))
    compiled = jax.jit(evaluator).lower(weights, task, prompts, key=key).compile()
    memory = compiled.memory_analysis()
    shards = [leaf.sharding.shard_shape(leaf.shape) for leaf in jax.tree.leaves(weights)]
    told.append({
        "shape": shape, "mesh": [population, model], "chunk": chunk,
        "weights_bf16": 2 * sum(map(math.prod, shards)),
        "arguments_f32": memory.argument_size_in_bytes,
        "temporaries_f32": memory.temp_size_in_bytes,
        "flops": compiled.cost_analysis().get("flops"),
    })
    print(told[-1], file=sys.stderr, flush=True)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"told": told, "peak": peak}))
"""

CASES = [("llama3-8b", 1, 2, 8), ("llama3-70b", 1, 8, 8), ("llama3-70b", 4, 8, 8)]


@pytest.fixture(scope="module")
def counted() -> dict:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(CASES)],
        capture_output=True,
        text=True,
        env=os.environ
        | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=32",
            "PYTHONPATH": str(ROOT),
        },
        timeout=580,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_nothing_is_allocated(counted):
    # The least of the models has 15 in bfloat16; what is used is the compiler's own.
    assert counted["peak"] < 12 * GIB


def test_each_device_has_its_part_of_the_weights(counted):
    for each, parameters in zip(counted["told"], (8.03e9, 70.55e9, 70.55e9), strict=True):
        _, model = each["mesh"]
        assert each["weights_bf16"] == pytest.approx(2 * parameters / model, rel=0.001)
        # Beside the weights, the arguments are the population and the questions.
        assert 0 <= each["arguments_f32"] - 2 * each["weights_bf16"] < 0.1 * GIB


def test_8b_fits_two_devices_of_16_gigabytes(counted):
    case = counted["told"][0]
    assert case["mesh"] == [1, 2]
    assert case["weights_bf16"] + case["temporaries_f32"] < 0.85 * 16e9


def test_no_temporary_is_a_copy_of_the_weights(counted):
    for each in counted["told"]:
        assert each["temporaries_f32"] < 0.25 * each["weights_bf16"]
