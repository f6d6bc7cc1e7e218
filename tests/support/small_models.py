"""Small models whose weights cost no compilation."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxalign.model as jm
from jaxalign.model.abstract import named_leaves, with_leaves

CONFIG = jm.DecoderConfig(
    vocab_size=40, width=16, layers=3, heads=4, kv_heads=2, head_dim=8, mlp_width=24
)


def numpy_model(
    config: jm.DecoderConfig, dtype: str = "float32", seed: int = 0
) -> tuple[nnx.GraphDef, nnx.State]:
    """Draw weights large enough that no part of the model drowns in the residual."""
    graphdef, abstract = jm.abstract_model(config, dtype)
    draw = np.random.default_rng(seed)
    leaves = {
        name: jnp.asarray(
            1 + 0.2 * draw.normal(size=leaf.shape)
            if name.endswith("norm")
            else 0.3 * draw.normal(size=leaf.shape),
            leaf.dtype,
        )
        for name, leaf in named_leaves(abstract).items()
    }
    return graphdef, with_leaves(abstract, leaves)
