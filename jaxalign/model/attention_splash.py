"""Attention as TPU's splash kernel: blocks of the mask in which nothing is allowed are skipped.

The kernel and its reading of a mask are JAX's; here they get a mask that is an array of the
compiled program, so that one program serves every trie of a size.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
from jax.experimental.pallas.ops.tpu.splash_attention.splash_attention_mask_info import (
    process_dynamic_mask,
)

SIDE = 128  # of the mask's blocks, the smallest that the kernel takes


def attend_masked(
    query_SNH: jax.Array, key_SKH: jax.Array, value_SKH: jax.Array, mask_SS: jax.Array
) -> jax.Array:
    """As `attend`, for as many rows as columns; interpreted on a CPU, which is slow."""
    return jax.lax.platform_dependent(
        query_SNH,
        key_SKH,
        value_SKH,
        mask_SS,
        tpu=functools.partial(_call, interpret=False),
        cpu=functools.partial(_call, interpret=True),
    )


def _call(
    query_SNH: jax.Array,
    key_SKH: jax.Array,
    value_SKH: jax.Array,
    mask_SS: jax.Array,
    interpret: bool,
) -> jax.Array:
    size, _, head_dim = query_SNH.shape
    fill = -size % SIDE
    # A row that fills up attends to itself: a row without any column would be 0 / 0.
    mask_SS = jnp.pad(mask_SS, (0, fill)) | jnp.diag(jnp.arange(size + fill) >= size)
    info, _ = process_dynamic_mask(mask_SS[None], (SIDE, SIDE))
    kernel = splash.SplashAttentionKernel(
        info,
        None,
        None,
        block_sizes=splash.BlockSizes(block_q=SIDE, block_kv=SIDE, block_kv_compute=SIDE),
        is_mqa=False,
        save_residuals=False,
        mask_value=splash.DEFAULT_MASK_VALUE,
        attn_logits_soft_cap=None,
        residual_checkpoint_name=None,
        mask_function=None,
        interpret=interpret,
    )

    def heads_first(array_SNH: jax.Array) -> jax.Array:
        return jnp.pad(jnp.swapaxes(array_SNH, 0, 1), [(0, 0), (0, fill), (0, 0)])

    scaled_SNH = (query_SNH * jnp.float32(head_dim**-0.5)).astype(query_SNH.dtype)
    exact = "highest" if query_SNH.dtype == jnp.float32 else None
    with jax.default_matmul_precision(exact):
        gathered_NSH = kernel(*map(heads_first, (scaled_SNH, key_SKH, value_SKH)))
    return jnp.swapaxes(gathered_NSH[:, :size], 0, 1)
