"""Operations of the forward: by formula, and as XLA counts them in the compiled program.

Letters: L prompt rows, T trie tokens, S = L + T, Q questions, D width, N query heads, K key/value
heads, H head width, F feed-forward width.
"""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxalign.fitness import answer_logits
from jaxalign.model import LlamaConfig, abstract_model
from jaxalign.model.abstract import named_leaves
from jaxalign.objective import Task

_UNTUNED = {"xla_gpu_autotune_level": 0}  # trying kernels out takes long and changes no count


def linear_parameters(weights: Any) -> int:
    """Counts the blocks' matrices; embedding, head, norms and biases are left out."""
    return sum(
        math.prod(leaf.shape)
        for name, leaf in named_leaves(weights).items()
        if name.startswith("block.") and len(leaf.shape) == 3
    )


def predicted_flop(config: LlamaConfig, task: Task, length: int) -> dict[str, int]:
    """Operations that one candidate's answers need, two for each product of two numbers.

    The last layer counts keys and values for all S rows and the rest for the Q that are read.
    Attention counts the pairs of a row and what it may attend to, soft prompt included; elementwise
    work is left out.

    Args:
      config: the architecture.
      task: what is asked.
      length: L.

    Returns:
      `linear`, `attention` with those pairs only, and `attention_dense` with all S × S.
    """
    width, heads, head_dim = config.width, config.heads, config.head_dim
    mask_TT, nodes_Q = np.asarray(task.mask_TT), np.asarray(task.answer_nodes_Q)
    size, questions = length + len(mask_TT), len(nodes_Q)
    of_key_value = 2 * width * config.kv_heads * head_dim
    of_the_rest = 2 * width * heads * head_dim + 3 * width * config.mlp_width
    linear = config.layers * size * of_key_value
    linear += ((config.layers - 1) * size + questions) * of_the_rest
    options = math.prod(task.answer_ids_QA.shape) * width
    pair = 2 * heads * head_dim  # a score, and a share of a value
    needed = length * (length + 1) // 2 + len(mask_TT) * length + int(mask_TT.sum())
    last = questions * length + int(mask_TT[nodes_Q].sum())
    return {
        "linear": 2 * (linear + options),
        "attention": 2 * pair * ((config.layers - 1) * needed + last),
        "attention_dense": 2 * pair * ((config.layers - 1) * size**2 + questions * size),
    }


def counted_flop(
    config: LlamaConfig, dtype: str, task: Task, length: int, attention: str
) -> float | None:
    """XLA's own count for one candidate, elementwise work included.

    XLA counts the body of a loop once, however often it runs, so models of one and of two layers
    are compiled: one has no loop and the other a single turn. What the second has more is a layer.
    It sees no operations inside a kernel that is not its own.

    Args:
      config: the architecture.
      dtype: of the weights.
      task: what is asked.
      length: L.
      attention: the implementation's name.

    Returns:
      The count, or None where the platform gives none.
    """

    def count(layers: int) -> float:
        graphdef, weights = abstract_model(dataclasses.replace(config, layers=layers), dtype)

        def answer(weights: Any, task: Task, prompt_LD: jax.Array) -> jax.Array:
            return answer_logits(nnx.merge(graphdef, weights), task, prompt_LD, attention)

        prompt_LD = jax.ShapeDtypeStruct((length, config.width), np.float32)
        lowered = jax.jit(answer).lower(weights, task, prompt_LD)
        compiled = lowered.compile(compiler_options=_UNTUNED)
        analysis = compiled.cost_analysis() or {}
        return float(analysis.get("flops", 0.0))

    one, two = count(1), count(2)
    return one + (config.layers - 1) * (two - one) if 0 < one < two else None
