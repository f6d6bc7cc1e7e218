"""Masked grouped-query attention of one sequence; implementations are chosen by name."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxalign.errors import UserError
from jaxalign.model.quantization import matmul_precision
from jaxalign.model.tree import Tree

Attention = Callable[[jax.Array, jax.Array, jax.Array, jax.Array, Tree | None], jax.Array]
AUTO = "auto"
_PLATFORMS = {"cudnn": "gpu", "pallas": "gpu", "splash": "tpu"}  # of those that have only one


def attend(
    query_RNH: jax.Array,
    key_SKH: jax.Array,
    value_SKH: jax.Array,
    mask_RS: jax.Array,
    tree: Tree | None = None,
    implementation: str = AUTO,
) -> jax.Array:
    """Let each of R rows gather values from the S columns that its mask allows.

    Args:
      query_RNH: rotated queries `[R, N, H]`.
      key_SKH: rotated keys `[S, K, H]`, N a multiple of K; query head n uses key head n // (N/K).
      value_SKH: values `[S, K, H]`.
      mask_RS: bool `[R, S]`, True where the row may attend; each row needs at least one True.
      tree: what the mask says, where R = S and the rows are a chain and a tree below its end.
      implementation: a key of `IMPLEMENTATIONS`, or `auto`: `xla` is dense, `blocks` goes block by
        block of the tree, `pallas` does so in one GPU kernel, `cudnn` is NVIDIA's flash attention
        with the mask as a bias, `splash` JAX's TPU kernel. Without a tree `blocks` and `pallas` are
        `xla`, and `splash` is where R is not S. On a CPU `pallas` and `splash` are interpreted,
        which is for tests, and `cudnn` does not run; `check_attention` tells users.

    Returns:
      `[R, N, H]` in the type of the queries.

    Raises:
      ValueError: for an unknown implementation or shapes that do not fit.
    """
    if implementation == AUTO:
        implementation = "blocks"
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(f"attention {implementation!r} is none of {sorted(IMPLEMENTATIONS)}")
    rows, heads, head_dim = query_RNH.shape
    columns, kv_heads, _ = key_SKH.shape
    fits = (
        heads % kv_heads == 0
        and key_SKH.shape == value_SKH.shape == (columns, kv_heads, head_dim)
        and mask_RS.shape == (rows, columns)
    )
    if not fits:
        shapes = [array.shape for array in (query_RNH, key_SKH, value_SKH, mask_RS)]
        raise ValueError(f"query, key, value and mask do not fit each other: {shapes}")
    return IMPLEMENTATIONS[implementation](query_RNH, key_SKH, value_SKH, mask_RS, tree)


def _dense(
    query_RNH: jax.Array,
    key_SKH: jax.Array,
    value_SKH: jax.Array,
    mask_RS: jax.Array,
    _: Tree | None = None,
) -> jax.Array:
    """Attend densely: all R x S scores, softmax in float32.

    Scores keep the order in which the product makes them, rows before query heads: the other order
    transposes all of them, which took 30% more time on a CPU with 8 query heads over 2 key heads.
    """
    rows, heads, head_dim = query_RNH.shape
    kv_heads = key_SKH.shape[1]
    dtype = query_RNH.dtype
    precision = matmul_precision(dtype)
    query_RKGH = query_RNH.reshape(rows, kv_heads, heads // kv_heads, head_dim)
    scores_KRGS = jnp.einsum(
        "rkgh,skh->krgs",
        query_RKGH,
        key_SKH,
        precision=precision,
        preferred_element_type=jnp.float32,
    )
    scores_KRGS = jnp.where(
        mask_RS[None, :, None], scores_KRGS * head_dim**-0.5, jnp.finfo(jnp.float32).min
    )
    weights_KRGS = jax.nn.softmax(scores_KRGS, axis=-1).astype(dtype)
    gathered_RKGH = jnp.einsum(
        "krgs,skh->rkgh",
        weights_KRGS,
        value_SKH,
        precision=precision,
        preferred_element_type=jnp.float32,
    )
    return gathered_RKGH.reshape(rows, heads, head_dim).astype(dtype)


def _blocks(
    query_SNH: jax.Array,
    key_SKH: jax.Array,
    value_SKH: jax.Array,
    mask_SS: jax.Array,
    tree: Tree | None,
) -> jax.Array:
    """Block by block of the tree: L + M + R columns for each row in place of S.

    The softmax is divided by its sum after the values are gathered, which is H numbers a row and
    not L + M + R.
    """
    if tree is None:
        return _dense(query_SNH, key_SKH, value_SKH, mask_SS)
    size, heads, head_dim = query_SNH.shape
    length, kv_heads = size - tree.size, key_SKH.shape[1]
    blocks, rows, _ = tree.path_mask_BRM.shape
    dtype = query_SNH.dtype
    precision = matmul_precision(dtype)

    def cut(array_SNH: jax.Array) -> jax.Array:
        filled = jnp.pad(array_SNH[length:], ((0, blocks * rows - tree.size), (0, 0), (0, 0)))
        return filled.reshape(blocks, rows, *array_SNH.shape[1:])

    def columns(array_SKH: jax.Array) -> jax.Array:
        chain = jnp.broadcast_to(array_SKH[:length], (blocks, length, kv_heads, head_dim))
        path = array_SKH[length:][tree.path_BM]
        return jnp.concatenate([chain, path, cut(array_SKH)], axis=1)

    query_BRKGH = cut(query_SNH).reshape(blocks, rows, kv_heads, heads // kv_heads, head_dim)
    scores_BKRGC = jnp.einsum(
        "brkgh,bckh->bkrgc",
        query_BRKGH,
        columns(key_SKH),
        precision=precision,
        preferred_element_type=jnp.float32,
    )
    chain_mask_BRL = jnp.ones((blocks, rows, length), bool)
    mask_BRC = jnp.concatenate([chain_mask_BRL, tree.path_mask_BRM, tree.own_mask_BRR], axis=-1)
    scores_BKRGC = jnp.where(
        mask_BRC[:, None, :, None], scores_BKRGC * head_dim**-0.5, jnp.finfo(jnp.float32).min
    )
    highest_BKRG1 = jax.lax.stop_gradient(jnp.max(scores_BKRGC, axis=-1, keepdims=True))
    weights_BKRGC = jnp.exp(scores_BKRGC - highest_BKRG1)
    gathered_BKRGH = jnp.einsum(
        "bkrgc,bckh->bkrgh",
        weights_BKRGC.astype(dtype),
        columns(value_SKH),
        precision=precision,
        preferred_element_type=jnp.float32,
    )
    gathered_BKRGH = gathered_BKRGH / jnp.sum(weights_BKRGC, axis=-1)[..., None]
    gathered_SNH = jnp.swapaxes(gathered_BKRGH, 1, 2).reshape(blocks * rows, heads, head_dim)
    gathered_SNH = gathered_SNH[: tree.size].astype(dtype)
    if not length:
        return gathered_SNH
    chain = slice(0, length)
    chain_LNH = _dense(
        query_SNH[chain], key_SKH[chain], value_SKH[chain], jnp.tri(length, dtype=bool)
    )
    return jnp.concatenate([chain_LNH, gathered_SNH])


def _with_gradient_of_blocks(kernel: Attention) -> Attention:
    """Give a kernel the gradient of blocks, since kernels have no backward pass."""
    differentiable = jax.custom_vjp(kernel)

    def forward(*arguments: Any) -> tuple[jax.Array, tuple]:
        return kernel(*arguments), arguments

    def backward(arguments: tuple, cotangent_RNH: jax.Array) -> tuple:
        query_RNH, key_SKH, value_SKH, mask_RS, tree = arguments

        def blocks(query_RNH: jax.Array, key_SKH: jax.Array, value_SKH: jax.Array) -> jax.Array:
            return _blocks(query_RNH, key_SKH, value_SKH, mask_RS, tree)

        _, pull = jax.vjp(blocks, query_RNH, key_SKH, value_SKH)
        return *pull(cotangent_RNH), None, None

    differentiable.defvjp(forward, backward)
    return differentiable


@_with_gradient_of_blocks
def _cudnn(
    query_RNH: jax.Array,
    key_SKH: jax.Array,
    value_SKH: jax.Array,
    mask_RS: jax.Array,
    _: Tree | None,
) -> jax.Array:
    return jax.nn.dot_product_attention(
        query_RNH, key_SKH, value_SKH, mask=mask_RS, implementation="cudnn"
    )


@_with_gradient_of_blocks
def _pallas(
    query_SNH: jax.Array,
    key_SKH: jax.Array,
    value_SKH: jax.Array,
    mask_SS: jax.Array,
    tree: Tree | None,
) -> jax.Array:
    if tree is None:
        return _dense(query_SNH, key_SKH, value_SKH, mask_SS)
    from jaxalign.model.attention_pallas import attend_tree  # Pallas takes a second to import

    return attend_tree(query_SNH, key_SKH, value_SKH, tree)


@_with_gradient_of_blocks
def _splash(
    query_SNH: jax.Array,
    key_SKH: jax.Array,
    value_SKH: jax.Array,
    mask_SS: jax.Array,
    _: Tree | None,
) -> jax.Array:
    if query_SNH.shape[0] != key_SKH.shape[0]:
        return _dense(query_SNH, key_SKH, value_SKH, mask_SS)
    from jaxalign.model.attention_splash import attend_masked

    return attend_masked(query_SNH, key_SKH, value_SKH, mask_SS)


IMPLEMENTATIONS: dict[str, Attention] = {
    "xla": _dense,
    "blocks": _blocks,
    "cudnn": _cudnn,
    "pallas": _pallas,
    "splash": _splash,
}


def check_attention(implementation: str, platform: str, dtype: str, devices: int = 1) -> None:
    """Check that an implementation run there, and not only interpreted.

    Args:
      implementation: a key of `IMPLEMENTATIONS`, or `auto`.
      platform: of the device, such as `cpu`, `gpu` or `tpu`.
      dtype: of the model.
      devices: of the run's mesh, over which no kernel can be split by the compiler.

    Raises:
      UserError: it does not.
    """
    needed = _PLATFORMS.get(implementation, platform)
    what = ""
    if platform != needed:
        what = f"needs a {needed.upper()}, and the device is a {platform.upper()}; give auto"
    elif implementation == "cudnn" and dtype != "bfloat16":
        what = f"needs model.dtype=bfloat16, which is {dtype}; give that, or auto here"
    elif implementation in _PLATFORMS and devices > 1:
        what = (
            f"needs one device and not {devices}; give mesh.population=1 and mesh.model=1, or auto"
        )
    if what:
        raise UserError(f"config: evaluation.attention={implementation!r}: {what}")
