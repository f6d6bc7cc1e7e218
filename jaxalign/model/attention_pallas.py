"""Attention by blocks of the tree as one GPU kernel: no score and no gathered key leaves the chip.

Letters beside those of `attention`: B blocks, R rows of a block, C columns that its rows look at,
G query heads of a key head, Z = R × G rounded up to what Triton takes, a power of two.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from jaxalign.model.quantization import matmul_precision
from jaxalign.model.tree import Tree

TILE = 32  # columns at a time
_SMALLEST = 16  # side of a product on tensor cores
_LOWEST = float(jnp.finfo(jnp.float32).min)


class Layout(NamedTuple):
    """What each block looks at; chain and tree are blocks alike.

    Attributes:
      span_B2: index of the first row, and the end of the row's chain or tree.
      columns_BC: indices into S: the chain, the path above the block, the block; C is a multiple of
        `TILE`, filled up with 0.
      mask_BRC: int8, 1 where the row may attend to the column.
    """

    span_B2: jax.Array
    columns_BC: jax.Array
    mask_BRC: jax.Array


def lay_out(tree: Tree, length: int) -> Layout:
    """Lay out a chain of `length` rows, in blocks as large as the tree's, and the tree below."""
    blocks, rows, _ = tree.path_mask_BRM.shape
    chains = -(-length // rows)
    size = length + tree.size
    chain_B2 = [(block * rows, length) for block in range(chains)]
    span_B2 = jnp.array(chain_B2 + [(length + block * rows, size) for block in range(blocks)])
    rows_BR = span_B2[:, :1] + jnp.arange(rows)[None]
    chain_L = jnp.arange(length)

    def below_chain(array: jax.Array) -> jax.Array:
        return jnp.pad(array, [(chains, 0)] + [(0, 0)] * (array.ndim - 1))

    columns_BC = jnp.concatenate(
        [
            jnp.broadcast_to(chain_L, (chains + blocks, length)),
            below_chain(jnp.asarray(tree.path_BM) + length),
            jnp.minimum(rows_BR, size - 1),
        ],
        axis=1,
    )
    mask_BRC = jnp.concatenate(
        [
            rows_BR[:, :, None] >= chain_L[None, None],  # of the tree's rows all
            below_chain(tree.path_mask_BRM),
            below_chain(tree.own_mask_BRR),
        ],
        axis=2,
    )
    fill = (0, -columns_BC.shape[1] % TILE)
    return Layout(
        span_B2,
        jnp.pad(columns_BC, [(0, 0), fill]),
        jnp.pad(mask_BRC.astype(jnp.int8), [(0, 0), (0, 0), fill]),
    )


def attend_tree(
    query_SNH: jax.Array, key_SKH: jax.Array, value_SKH: jax.Array, tree: Tree
) -> jax.Array:
    """As `attend`, for a chain and the tree below it; interpreted on a CPU, which is slow.

    One program for each block and key head loops over the block's columns with a running softmax
    in float32 (Dao, "FlashAttention-2", 2023, algorithm 1) and gathers the keys of the path itself.
    """
    arrays = (query_SNH, key_SKH, value_SKH)
    layout = lay_out(tree, query_SNH.shape[0] - tree.size)
    compiled = functools.partial(_call, interpret=False)
    interpreted = functools.partial(_call, interpret=True)
    return jax.lax.platform_dependent(
        *arrays, layout, cuda=compiled, rocm=compiled, cpu=interpreted
    )


def _call(
    query_SNH: jax.Array, key_SKH: jax.Array, value_SKH: jax.Array, layout: Layout, interpret: bool
) -> jax.Array:
    blocks, rows, columns = layout.mask_BRC.shape
    kv_heads = key_SKH.shape[1]
    return pl.pallas_call(
        _kernel,
        out_shape=jax.ShapeDtypeStruct(query_SNH.shape, query_SNH.dtype),
        grid=(blocks, kv_heads),
        in_specs=[
            pl.BlockSpec((None, 2), lambda block, head: (block, 0)),
            pl.BlockSpec((None, columns), lambda block, head: (block, 0)),
            pl.BlockSpec((None, rows, columns), lambda block, head: (block, 0, 0)),
            *[pl.BlockSpec()] * 3,
        ],
        # With 4 warps the 8B shape does not fit the registers (docs/accelerators.md).
        compiler_params=triton.CompilerParams(num_warps=8, num_stages=2),
        interpret=interpret,
        name="attend_tree",
    )(*layout, query_SNH, key_SKH, value_SKH)


def _kernel(span_ref, columns_ref, mask_ref, query_ref, key_ref, value_ref, output_ref) -> None:
    """One block's rows, with all query heads of one key head."""
    rows, columns = mask_ref.shape
    heads, head_dim = query_ref.shape[1:]
    group = heads // key_ref.shape[1]
    kv_head = pl.program_id(1)
    precision = matmul_precision(query_ref.dtype)
    scale = head_dim**-0.5 * math.log2(math.e)  # for powers of 2, which the hardware has

    stacked_Z = jnp.arange(max(_SMALLEST, pl.next_power_of_2(rows * group)))
    row_Z = jax.lax.div(stacked_Z, group)
    head_Z = kv_head * group + jax.lax.rem(stacked_Z, group)
    lane_1H = jnp.arange(max(_SMALLEST, pl.next_power_of_2(head_dim)))[None]
    inside_1H = lane_1H < head_dim
    here_Z = span_ref[0] + row_Z
    there_Z = (row_Z < rows) & (here_Z < span_ref[1])
    place_ZH = (here_Z[:, None], head_Z[:, None], lane_1H)
    inside_ZH = there_Z[:, None] & inside_1H
    query_ZH = triton.load(query_ref.at[place_ZH], mask=inside_ZH, other=0.0)

    def step(tile: jax.Array, carry: tuple) -> tuple:
        highest_Z, total_Z, gathered_ZH = carry
        column_C = columns_ref[pl.ds(tile * TILE, TILE)]
        place_CH = (column_C[:, None], kv_head, lane_1H)
        key_CH = triton.load(key_ref.at[place_CH], mask=inside_1H, other=0.0)
        value_CH = triton.load(value_ref.at[place_CH], mask=inside_1H, other=0.0)
        allowed_ZC = triton.load(
            mask_ref.at[row_Z[:, None], tile * TILE + jnp.arange(TILE)[None]],
            mask=there_Z[:, None],
            other=0,
        )
        scores_ZC = scale * triton.dot(query_ZH, key_CH, trans_b=True, precision=precision)
        scores_ZC = jnp.where(allowed_ZC != 0, scores_ZC, _LOWEST)
        higher_Z = jnp.maximum(highest_Z, jnp.max(scores_ZC, axis=1))
        weights_ZC = jnp.exp2(scores_ZC - higher_Z[:, None])
        shrink_Z = jnp.exp2(highest_Z - higher_Z)
        added_ZH = triton.dot(weights_ZC.astype(value_CH.dtype), value_CH, precision=precision)
        return (
            higher_Z,
            shrink_Z * total_Z + jnp.sum(weights_ZC, axis=1),
            shrink_Z[:, None] * gathered_ZH + added_ZH,
        )

    # A tile in which a row sees nothing adds ones to its total; the first score seen shrinks them
    # to nothing, since every row sees itself.
    start = (
        jnp.full(row_Z.shape, _LOWEST),
        jnp.zeros(row_Z.shape),
        jnp.zeros(inside_ZH.shape),
    )
    _, total_Z, gathered_ZH = jax.lax.fori_loop(0, columns // TILE, step, start)
    output_ZH = (gathered_ZH / total_Z[:, None]).astype(output_ref.dtype)
    triton.store(output_ref.at[place_ZH], output_ZH, mask=inside_ZH)
