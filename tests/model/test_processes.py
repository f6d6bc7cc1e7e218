"""What only a fresh process can show: imports that do no work, and loading onto many devices."""

import os
import subprocess
import sys

import numpy as np
from small_models import CONFIG, numpy_model

import jaxalign.model as jm


def _python(code: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env=dict(os.environ) | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_light():
    _python(
        """
import sys
import jaxalign.model
from jax._src import xla_bridge
heavy = {"torch", "transformers", "huggingface_hub"} & set(sys.modules)
assert not heavy, heavy
assert not xla_bridge.backends_are_initialized()
"""
    )


def test_each_device_reads_its_part(tmp_path):
    _, params = numpy_model(CONFIG, "bfloat16")
    jm.save_model(tmp_path / "model", params, CONFIG)
    np.savez(
        tmp_path / "expected.npz",
        up=np.asarray(params["block"]["up"].get_value()).astype(np.float32),
        embedding=np.asarray(params["embedding"].get_value()).astype(np.float32),
    )
    _python(
        """
import sys
import jax, numpy as np
import jaxalign.model as jm
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
mesh = jax.make_mesh((2, 2), ("layer", "model"), axis_types=(AxisType.Auto,) * 2)

def sharding(name, shape):
    if name == "block.up":
        return NamedSharding(mesh, P(None, "model"))
    if name == "embedding":
        return NamedSharding(mesh, P("model", "layer"))
    return NamedSharding(mesh, P())

folder, expected = sys.argv[1] + "/model", np.load(sys.argv[1] + "/expected.npz")
_, params, config = jm.load_model(folder, "float32", sharding)
for name, leaf in (("up", params["block"]["up"]), ("embedding", params["embedding"])):
    array = leaf.get_value()
    np.testing.assert_array_equal(np.asarray(array), expected[name])
    parts = 2 if name == "up" else 4
    assert array.addressable_shards[0].data.size == array.size // parts
""",
        str(tmp_path),
        XLA_FLAGS="--xla_force_host_platform_device_count=4",
        JAX_PLATFORMS="cpu",
    )
