"""What only a fresh process can show: imports that do no work, and loading onto many devices."""

import dataclasses
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


def test_the_host_reads_each_part_once_and_holds_one_leaf(tmp_path):
    """Four devices share two parts of each matrix; without care each would have its own copy."""
    wide = dataclasses.replace(
        CONFIG,
        vocab_size=4096,
        width=256,
        layers=6,
        heads=8,
        kv_heads=8,
        head_dim=32,
        mlp_width=1024,
    )
    _, params = numpy_model(wide)
    jm.save_model(tmp_path, params, wide)
    told = _python(
        """
import sys, weakref
import jax, numpy as np
import jaxalign.model as jm
from jaxalign.devices.mesh import make_mesh
from jaxalign.model import abstract, weights

live = peak = 0

def hold(array):
    # Counts what the loader holds at one time.
    global live, peak
    def release(size):
        global live
        live -= size
    live += array.nbytes
    peak = max(peak, live)
    weakref.finalize(array, release, array.nbytes)
    return array

class Counted:
    read = 0
    def __init__(self, source):
        self.get_shape, self.get_dtype, self._source = source.get_shape, source.get_dtype, source
    def __getitem__(self, index):
        part = hold(self._source[index])
        Counted.read += part.nbytes
        return part

table = weights._table
def counted(handles):
    tensors, faults = table(handles)
    return {key: Counted(tensor) for key, tensor in tensors.items()}, faults
weights._table = counted

class Crooked:
    # A CPU device may take over an array that begins at a multiple of 64, as no accelerator does.
    def __getattr__(self, name):
        return getattr(np, name)
    def empty(self, shape, dtype):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = hold(np.empty(size + 128, np.uint8))
        start = (16 - raw.ctypes.data) % 64
        return raw[start:start + size].view(dtype).reshape(shape)
weights.np = Crooked()

sharding = jm.sharding_over(make_mesh(2, 2))
_, params, _ = jm.load_model(sys.argv[1], sys.argv[2], sharding)
leaves = abstract.named_leaves(params).values()
held = [leaf.nbytes for leaf in leaves]
read = Counted.read / sum(held)
print(peak / max(held), read)
""",
        str(tmp_path),
        "float32",
        XLA_FLAGS="--xla_force_host_platform_device_count=4",
        JAX_PLATFORMS="cpu",
    )
    peak, read = map(float, told.split())
    assert 0.9 < peak < 1.2
    assert read == 1.0
