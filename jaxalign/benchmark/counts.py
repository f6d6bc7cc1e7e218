"""Operations of the forward as XLA counts them in the compiled program."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxalign.fitness.readout import answer_logits
from jaxalign.model import DecoderConfig, abstract_model
from jaxalign.model.abstract import named_leaves
from jaxalign.objective import Layout

_UNTUNED = {"xla_gpu_autotune_level": 0}  # trying kernels out takes long and changes no count


def linear_parameters(weights: Any) -> int:
    """Count the blocks' matrices; embedding, head, norms and biases are left out."""
    return sum(
        math.prod(leaf.shape)
        for name, leaf in named_leaves(weights).items()
        if name.startswith("block.") and len(leaf.shape) == 3
    )


def counted_flop(
    config: DecoderConfig, dtype: str, layout: Layout, length: int, attention: str
) -> float | None:
    """XLA's own count for one candidate and what candidates share, elementwise work included.

    XLA counts the body of a loop once, however often it runs, so models of one and of two layers
    are compiled: one has no loop and the other a single turn. What the second has more is a layer.
    It sees no operations inside a kernel that is not its own.

    Args:
      config: the architecture.
      dtype: of the weights.
      layout: what is asked.
      length: L.
      attention: the implementation's name.

    Returns:
      The count, or None where the platform gives none.
    """

    def count(layers: int) -> float:
        graphdef, weights = abstract_model(dataclasses.replace(config, layers=layers), dtype)

        def answer(weights: Any, layout: Layout, prompt_LD: jax.Array) -> jax.Array:
            return answer_logits(nnx.merge(graphdef, weights), layout, prompt_LD, attention)

        prompt_LD = jax.ShapeDtypeStruct((length, config.width), np.float32)
        lowered = jax.jit(answer).lower(weights, layout, prompt_LD)
        compiled = lowered.compile(compiler_options=_UNTUNED)
        analysis = compiled.cost_analysis() or {}
        return float(analysis.get("flops", 0.0))

    one, two = count(1), count(2)
    return one + (config.layers - 1) * (two - one) if 0 < one < two else None
