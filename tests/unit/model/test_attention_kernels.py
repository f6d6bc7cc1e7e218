"""The kernels, interpreted on the CPU, and what GPU and TPU would be given, beside dense attention.

Nothing here runs a kernel on what it is written for: docs/accelerators.md lists those checks.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_models import CONFIG, numpy_model
from tiers import every, first

from jaxalign.config import base, freeze
from jaxalign.errors import UserError
from jaxalign.model import AUTO, IMPLEMENTATIONS, Tree, attend, check_attention, cut_tree
from jaxalign.problem import load_problem

INTERPRETED = ("pallas", "splash")
SIZE, ROWS = 40, 16  # of a tree and of its blocks: the last one is filled up


def random_parents(draw: np.random.Generator) -> np.ndarray:
    """Any tree of that many rows in depth-first order, several roots included."""
    parents, path = [-1], [-1]
    for row in range(1, SIZE):
        path = [*path, row - 1]
        path = path[: draw.integers(max(1, len(path) - 6), len(path) + 1)]
        parents.append(path[-1])
    return np.array(parents)


def cut(parents: np.ndarray) -> Tree:
    """Its blocks, with paths filled up to one length, so that all trees share a program."""
    tree = cut_tree(parents, ROWS)
    fill = SIZE - tree.path_BM.shape[1]
    return tree.replace(
        path_BM=np.pad(tree.path_BM, [(0, 0), (0, fill)]),
        path_mask_BRM=np.pad(tree.path_mask_BRM, [(0, 0), (0, 0), (0, fill)]),
    )


def mask_of(parents: np.ndarray, length: int) -> np.ndarray:
    """Row by row: a chain of `length` rows, and below its end the tree."""
    mask = np.tri(length + SIZE, dtype=bool)
    for row, parent in enumerate(parents):
        mask[length + row, length:] = False
        mask[length + row, length + row] = True
        if parent >= 0:
            mask[length + row, length:] |= mask[length + parent, length:]
    return mask


def random_arrays(length: int, heads: int, kv_heads: int, head_dim: int) -> list[jax.Array]:
    """Queries, keys and values of two candidates, large enough for peaked weights."""
    draw = np.random.default_rng(length)
    shapes = [(2, length + SIZE, n, head_dim) for n in (heads, kv_heads, kv_heads)]
    return [jnp.asarray(2.0 * draw.normal(size=shape), jnp.float32) for shape in shapes]


@functools.cache
def compiled(name: str):
    """Attention of several candidates on one tree."""
    one = functools.partial(attend, implementation=name)
    return jax.jit(jax.vmap(one, in_axes=(0, 0, 0, None, None)))


# Chains shorter than a block, of one and of two; groups and widths that are no powers of two.
@pytest.mark.parametrize(
    ("length", "heads", "kv_heads", "head_dim"),
    every([(0, 4, 2, 8), (1, 6, 2, 24), (17, 2, 2, 16)], (17, 2, 2, 16)),
)
@pytest.mark.parametrize("name", INTERPRETED)
def test_kernels_agree_with_dense_attention(name, length, heads, kv_heads, head_dim):
    arrays = random_arrays(length, heads, kv_heads, head_dim)
    draw = np.random.default_rng(0)
    for _ in first(2, range(5)):
        parents = random_parents(draw)
        where = (jnp.asarray(mask_of(parents, length)), cut(parents))
        expected, found = (compiled(each)(*arrays, *where) for each in ("xla", name))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("name", INTERPRETED)
def test_bfloat16_is_as_good_as_in_dense_attention(name):
    exact = random_arrays(16, 4, 2, 16)
    rounded = [array.astype(jnp.bfloat16) for array in exact]
    parents = random_parents(np.random.default_rng(1))
    where = (jnp.asarray(mask_of(parents, 16)), cut(parents))
    expected = compiled("xla")(*[array.astype(jnp.float32) for array in rounded], *where)
    dense, found = (compiled(each)(*rounded, *where) for each in ("xla", name))
    assert found.dtype == jnp.bfloat16

    def error(given: jax.Array) -> float:
        return float(jnp.sqrt(jnp.mean(jnp.square(given.astype(jnp.float32) - expected))))

    assert error(found) < 1.5 * error(dense) < 0.05


@pytest.mark.parametrize("name", INTERPRETED)
def test_a_whole_model_reads_the_same_states(name):
    graphdef, weights = numpy_model(CONFIG)
    model, length = nnx.merge(graphdef, weights), 3
    parents = random_parents(np.random.default_rng(2))
    depth = np.zeros(SIZE, int)
    for row, parent in enumerate(parents):
        depth[row] = 0 if parent < 0 else depth[parent] + 1
    positions_S = jnp.asarray(np.concatenate([np.arange(length), length + depth]))
    mask_SS, tree = jnp.asarray(mask_of(parents, length)), cut(parents)
    read_R = jnp.array([length + 5, length + SIZE - 1])
    prompts = np.random.default_rng(3).normal(size=(2, length + SIZE, CONFIG.width))

    def states(name: str) -> jax.Array:
        return jax.jit(
            jax.vmap(
                lambda each: model(each, positions_S, mask_SS, read_R, attention=name, tree=tree)
            )
        )(jnp.asarray(prompts, jnp.float32))

    np.testing.assert_allclose(states(name), states("xla"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", INTERPRETED)
def test_gradients_are_those_of_blocks(name):
    arrays = [array[0] for array in random_arrays(1, 2, 1, 8)]
    parents = random_parents(np.random.default_rng(4))
    where = (jnp.asarray(mask_of(parents, 1)), cut(parents))

    @functools.partial(jax.jit, static_argnums=1)
    def gradients(arrays, name):
        return jax.grad(lambda arrays: jnp.sum(jnp.sin(attend(*arrays, *where, name))))(arrays)

    for found, expected in zip(gradients(arrays, name), gradients(arrays, "xla"), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def lowered(name: str, platform: str, dtype, heads: int, kv_heads: int, head_dim: int) -> str:
    """What the compiler of a platform that is not here would be given."""
    parents = random_parents(np.random.default_rng(5))
    arrays = [
        jax.ShapeDtypeStruct((2, 16 + SIZE, n, head_dim), dtype)
        for n in (heads, kv_heads, kv_heads)
    ]
    traced = compiled(name).trace(*arrays, mask_of(parents, 16), cut(parents))
    return traced.lower(lowering_platforms=(platform,)).as_text()


# The shapes of Llama 3 8B, 3.2 3B and 3.2 1B, and of a small model.
@pytest.mark.parametrize("dtype", every([jnp.bfloat16, jnp.float32], jnp.bfloat16))
@pytest.mark.parametrize(
    "shape", every([(32, 8, 128), (24, 8, 128), (32, 8, 64), (4, 4, 32)], (32, 8, 128))
)
def test_kernels_lower_for_their_platforms(shape, dtype):
    assert lowered("pallas", "cuda", dtype, *shape).count("xla.gpu.triton") == 1
    assert lowered("splash", "tpu", dtype, *shape).count("@tpu_custom_call") == 1


def test_cudnn_is_called_once_with_one_bias_for_all_candidates(monkeypatch):
    with pytest.raises(RuntimeError, match="cuDNN"):
        lowered("cudnn", "cuda", jnp.bfloat16, 32, 8, 128)
    stablehlo = "jax._src.cudnn.fused_attention_stablehlo"
    monkeypatch.setattr(f"{stablehlo}.check_cudnn_version", lambda: 91100)
    text = lowered("cudnn", "cuda", jnp.bfloat16, 32, 8, 128)
    calls = [line for line in text.splitlines() if "__cudnn$fmhaScaleBiasSoftmax" in line]
    side = 16 + SIZE
    assert len(calls) == 1 and f"tensor<1x1x{side}x{side}xbf16>" in calls[0]


def test_what_cudnn_is_asked_for_is_dense_attention(monkeypatch):
    library = jax.nn.dot_product_attention

    def here(*arrays, mask, implementation):
        assert implementation == "cudnn"
        return library(*arrays, mask=mask, implementation="xla")

    monkeypatch.setattr(jax.nn, "dot_product_attention", here)
    query, key, value = (array[0] for array in random_arrays(3, 6, 2, 8))
    mask = jnp.asarray(mask_of(random_parents(np.random.default_rng(6)), 3))
    for rows in (slice(None), slice(5, 9)):
        arguments = (query[rows], key, value, mask[rows], None)
        expected, found = (
            jax.jit(functools.partial(attend, implementation=name))(*arguments)
            for name in ("xla", "cudnn")
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [AUTO, *IMPLEMENTATIONS])
def test_each_runs_somewhere(name):
    runs = []
    for platform in ("cpu", "gpu", "tpu"):
        for dtype in ("float32", "bfloat16"):
            try:
                check_attention(name, platform, dtype)
                runs.append((platform, dtype))
            except UserError as error:
                assert str(error).startswith(f"config: evaluation.attention={name!r}: needs ")
                assert "auto" in str(error) and "\n" not in str(error)
    expected = {"cudnn": 1, "pallas": 2, "splash": 2}.get(name, 6)
    assert len(runs) == expected


@pytest.mark.parametrize("name", [AUTO, *IMPLEMENTATIONS])
def test_kernels_are_refused_on_several_devices(name):
    platform = "tpu" if name == "splash" else "gpu"
    if name in (AUTO, "xla", "blocks"):
        check_attention(name, platform, "bfloat16", devices=4)
    else:
        with pytest.raises(
            UserError, match=rf"attention={name!r}: .*not 4; give mesh.population=1"
        ):
            check_attention(name, platform, "bfloat16", devices=4)


@pytest.mark.parametrize("name", ["cudnn", "pallas", "splash"])
def test_a_kernel_is_refused_on_a_cpu_before_weights_are_read(name, monkeypatch):
    config = base("embedded")
    config.country = "SA"
    config.evaluation.attention = name
    monkeypatch.setattr("jaxalign.problem.load_model", None)
    with pytest.raises(UserError, match=r"evaluation\.attention.*is a CPU"):
        load_problem(freeze(config))
