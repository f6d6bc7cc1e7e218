"""Every family on a mesh: the same logits, and no more talk between devices than a llama needs.

Two CPU devices stand in for accelerators, in a process of their own.
"""

import json
import os
import subprocess
import sys

import pytest
from parity_cases import BASE
from paths import ROOT

from jaxalign.benchmark.ahead.collectives import collectives_of

pytestmark = pytest.mark.nightly

PROGRAM = r"""
import json, sys
import jax, jax.numpy as jnp, numpy as np
from flax import nnx
from jax.sharding import AxisType
from jaxalign.devices.mesh import MODEL, POPULATION
from jaxalign.model import load_model, parse_config, random_model, save_model, sharding_over

raw, folder = json.loads(sys.argv[1]), sys.argv[2]
config = parse_config(raw, "raw")
graphdef, params = random_model(config, "float32", 0)
louder = jax.tree.map(lambda leaf: leaf * (8.0 if np.std(leaf) > 0 else 1.0), params)
save_model(folder, louder, config)
tokens = jnp.arange(12)


def logits(params):
    model = nnx.merge(graphdef, params)
    mask = jnp.tri(12, dtype=bool)
    hidden = model(model.embed(tokens), tokens, mask, tokens)
    return model.option_logits(hidden, jnp.broadcast_to(tokens, (12, 12)))


alone = jax.jit(logits)(load_model(folder, "float32")[1])
mesh = jax.make_mesh((1, 2), (POPULATION, MODEL), axis_types=(AxisType.Auto,) * 2)
with jax.set_mesh(mesh):
    split = load_model(folder, "float32", sharding_over(mesh))[1]
    compiled = jax.jit(logits).lower(split).compile()
    both = compiled(split)
off = float(np.abs(np.asarray(both) - np.asarray(alone)).max() / np.abs(alone).max())
print(json.dumps({"off": off, "program": compiled.as_text()}))
"""


def _run(folder, **fields) -> tuple[float, list[str]]:
    raw = BASE | {"head_dim": 8} | fields
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(raw), str(folder)],
        env=os.environ
        | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    return told["off"], sorted(each.kind for each in collectives_of(told["program"], 2))


def test_families_on_a_mesh(tmp_path):
    _, usual = _run(tmp_path / "llama", model_type="llama")
    assert usual
    for family in ("mistral", "qwen2", "qwen3", "gemma3_text"):
        off, talk = _run(tmp_path / family, model_type=family, tie_word_embeddings=False)
        assert off < 1e-5, family
        assert talk == usual, family
