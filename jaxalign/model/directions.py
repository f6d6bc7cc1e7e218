"""Which directions of an embedding a model listens to, read from its weights."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxalign.model.architecture import DecoderConfig
from jaxalign.model.block import norm_scale
from jaxalign.model.quantization import Quantized

# Values and the MLP's inputs. Queries and keys respond to a few directions far more, but what they
# do to the answers is no line even for small changes (docs/decisions/search.md).
_LISTENING = (("value", "attention_norm"), ("gate", "mlp_norm"), ("up", "mlp_norm"))


def first_layer_gram(weights: nnx.State, config: DecoderConfig) -> Float[Array, "D D"]:
    """Return how much the first layer's matrices respond to each direction of an embedding.

    The sum of WᵀW over the matrices that read the residual stream, each with the scale of the norm
    before it and divided by its squared Frobenius norm; float32, of trace 3. Measured on
    SmolLM2-135M, 16 times as much of the answers' gradient lies along it as along a random
    direction.

    Args:
      weights: as `load_model` gives them, quantised or not.
      config: their architecture.
    """

    @jax.jit
    def gram(weights: nnx.State) -> jax.Array:
        width = weights["embedding"][...].shape[1]
        total_DD = jnp.zeros((width, width), jnp.float32)
        for name, norm in _LISTENING:
            matrix = weights["block"][name].get_value()
            if isinstance(matrix, Quantized):
                first = matrix.values[0].astype(jnp.float32) * matrix.scales[0][:, None]
            else:
                first = matrix[0].astype(jnp.float32)
            heard = first * norm_scale(weights["block"][norm], config)[:1]
            product_DD = jnp.matmul(heard.T, heard, precision=jax.lax.Precision.HIGHEST)
            total_DD += product_DD / jnp.trace(product_DD)
        return total_DD

    return gram(weights)
