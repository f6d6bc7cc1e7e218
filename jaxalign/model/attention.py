"""Masked grouped-query attention of one sequence; implementations are chosen by name."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Attention = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]


def matmul_precision(dtype: jnp.dtype) -> jax.lax.Precision | None:
    """HIGHEST for float32, so that TPUs and GPUs do not round products to bfloat16 or tf32."""
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None


def attend(
    query_RNH: jax.Array,
    key_SKH: jax.Array,
    value_SKH: jax.Array,
    mask_RS: jax.Array,
    implementation: str = "xla",
) -> jax.Array:
    """Let each of R rows gather values from the S columns that its mask allows.

    Args:
      query_RNH: rotated queries `[R, N, H]`.
      key_SKH: rotated keys `[S, K, H]`, N a multiple of K; query head n uses key head n // (N/K).
      value_SKH: values `[S, K, H]`.
      mask_RS: bool `[R, S]`, True where the row may attend; each row needs at least one True.
      implementation: a key of `IMPLEMENTATIONS`.

    Returns:
      `[R, N, H]` in the type of the queries.

    Raises:
      ValueError: for an unknown implementation or shapes that do not fit.
    """
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
    return IMPLEMENTATIONS[implementation](query_RNH, key_SKH, value_SKH, mask_RS)


def _dense(
    query_RNH: jax.Array, key_SKH: jax.Array, value_SKH: jax.Array, mask_RS: jax.Array
) -> jax.Array:
    """All R x S scores at once, softmax in float32.

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


IMPLEMENTATIONS: dict[str, Attention] = {"xla": _dense}
