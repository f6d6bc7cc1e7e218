"""Matrices of the blocks in 8 bits: half the memory of bfloat16, and faster where the chip is.

A weight is stored as integers or 8-bit floats with one float32 scale for each output; so is, on the
fly, each row that it multiplies, unless only weights are quantised. Scales are symmetric, after the
largest magnitude. Norms, biases, embedding and head stay as they are.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

NO_QUANTIZATION = "none"
_TYPES = {"int8": jnp.dtype(jnp.int8), "fp8": jnp.dtype(jnp.float8_e4m3fn)}
_WEIGHTS_ONLY = "_weights"
MODES = (NO_QUANTIZATION, *_TYPES, *(name + _WEIGHTS_ONLY for name in _TYPES))
_MATRICES = ("query", "key", "value", "output", "gate", "up", "down")


def matmul_precision(dtype: jnp.dtype) -> jax.lax.Precision | None:
    """Return HIGHEST for float32, lest TPUs and GPUs round products to bfloat16 or tf32."""
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None


@jax.tree_util.register_pytree_with_keys_class
class Quantized:
    """A weight in 8 bits, stacked over layers or not.

    Attributes:
      values: int8 or float8_e4m3fn `[…, out, in]`.
      scales: float32 `[…, out]`; values × scales is the weight.
      rows: whether the rows that it multiplies are quantised too.
    """

    def __init__(self, values: Any, scales: Any, rows: bool):
        self.values, self.scales, self.rows = values, scales, rows

    def tree_flatten_with_keys(self) -> tuple[tuple[tuple[Any, Any], ...], bool]:
        """Two leaves, named like the attributes."""
        leaves = {"values": self.values, "scales": self.scales}
        return tuple((jax.tree_util.DictKey(key), leaf) for key, leaf in leaves.items()), self.rows

    @classmethod
    def tree_unflatten(cls, rows: bool, leaves: tuple[Any, Any]) -> "Quantized":
        """Return the reverse of flattening."""
        return cls(*leaves, rows)


def quantize(params: nnx.State, mode: str, keep: bool = False) -> nnx.State:
    """Return a model's params with the blocks' matrices in 8 bits, one after the other.

    Args:
      params: as `load_model` gives them.
      mode: one of `MODES`; `int8` and `fp8` quantise the rows that a weight multiplies as well,
        `int8_weights` and `fp8_weights` do not.
      keep: whether `params` stay; else each matrix is freed when its successor is there.
    """
    if mode == NO_QUANTIZATION:
        return params
    rows = not mode.endswith(_WEIGHTS_ONLY)
    shrink = jax.jit(partial(_shrink, dtype=_TYPES[mode.removesuffix(_WEIGHTS_ONLY)]))
    params = jax.tree.map(lambda leaf: leaf, params)
    for name in _MATRICES:
        weight = params["block"][name]
        full = weight[...]
        values, scales = jax.block_until_ready(shrink(full))
        params["block"][name] = weight.replace(Quantized(values, scales, rows))
        if not keep:
            full.delete()
    return params


def multiply(inputs: jax.Array, weight: jax.Array | Quantized, precision: Any) -> jax.Array:
    """Multiply `[rows, in]` by a `[out, in]` weight, quantised or not.

    Products of 8-bit values are summed in int32 or float32, and scaled in float32.
    """
    if not isinstance(weight, Quantized):
        return jnp.einsum("ri,oi->ro", inputs, weight, precision=precision)
    if not weight.rows:
        values = weight.values.astype(inputs.dtype)
        outputs = _product(inputs, values, precision=precision).astype(jnp.float32)
    else:
        small, scale_R = _shrink(inputs, weight.values.dtype)
        outputs = _product_of_small(small, weight.values, inputs.dtype)
        outputs = outputs.astype(jnp.float32) * scale_R[:, None]
    return (outputs * weight.scales[None, :]).astype(inputs.dtype)


_product = partial(jax.lax.dot_general, dimension_numbers=(((1,), (1,)), ((), ())))


def _product_of_small(small: jax.Array, values: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Multiply 8-bit rows by 8-bit weights, for a result that will be rounded to `dtype`.

    A GPU writes sums of fp8 in bfloat16 where the result is to be that: float32 ones are twice as
    much memory to write and read, which costs more than the product saves.
    """
    total = jnp.int32 if values.dtype == jnp.int8 else jnp.float32
    exact = partial(_product, preferred_element_type=total)
    if total == jnp.int32 or dtype == jnp.float32:
        return exact(small, values)

    def rounded(small: jax.Array, values: jax.Array) -> jax.Array:
        return _product(small, values, preferred_element_type=dtype).astype(jnp.float32)

    return jax.lax.platform_dependent(small, values, cuda=rounded, default=exact)


def _shrink(matrix: jax.Array, dtype: jnp.dtype) -> tuple[jax.Array, jax.Array]:
    """8-bit values, and the scale of each row of the last axis; zeros where a row is zero."""
    exact = matrix.astype(jnp.float32)
    integer = dtype == jnp.int8
    most = 127.0 if integer else float(jnp.finfo(dtype).max)
    scales = jnp.max(jnp.abs(exact), axis=-1) / most
    scaled = exact / jnp.where(scales > 0, scales, 1.0)[..., None]
    round_: Callable[[jax.Array], jax.Array] = jnp.round if integer else lambda each: each
    return round_(scaled).astype(dtype), scales
