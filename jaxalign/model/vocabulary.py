"""What a model says of its whole vocabulary at a few positions, without logits over all of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.model.quantization import matmul_precision

CHUNK = 8192  # tokens at a time: in float32 the head's rows of 128,256 tokens would be 2 GB


class Vocabulary(NamedTuple):
    """Of each of R positions.

    Attributes:
      likeliest_R: token of the highest logit, the first of equals.
      log_total_R: float32 log of the summed exponentials of all V logits.
    """

    likeliest_R: jax.Array
    log_total_R: jax.Array


def read_vocabulary(rows_VD: jax.Array, hidden_RD: jax.Array, chunk: int = CHUNK) -> Vocabulary:
    """Find the likeliest token and the softmax's normaliser, some tokens at a time.

    Args:
      rows_VD: the head, as `Decoder.head_rows` gives it.
      hidden_RD: final hidden states.
      chunk: tokens at a time.
    """
    vocabulary, count = rows_VD.shape[0], hidden_RD.shape[0]
    chunk = min(chunk, vocabulary)

    def one_chunk(index: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        highest_R, likeliest_R, total_R = carry
        # The last chunk goes back over what the one before has done, and leaves that out.
        first = jnp.minimum(index * chunk, vocabulary - chunk)
        logits_RV = jnp.einsum(
            "rd,vd->rv",
            hidden_RD,
            jax.lax.dynamic_slice_in_dim(rows_VD, first, chunk),
            precision=matmul_precision(hidden_RD.dtype),
            preferred_element_type=jnp.float32,
        )
        is_new_V = first + jnp.arange(chunk) >= index * chunk
        logits_RV = jnp.where(is_new_V[None], logits_RV, -jnp.inf)
        here_R = jnp.max(logits_RV, axis=-1)
        likeliest_R = jnp.where(
            here_R > highest_R, first + jnp.argmax(logits_RV, axis=-1), likeliest_R
        )
        top_R = jnp.maximum(highest_R, here_R)
        added_R = jnp.sum(jnp.exp(logits_RV - top_R[:, None]), axis=-1)
        return top_R, likeliest_R, total_R * jnp.exp(highest_R - top_R) + added_R

    start = (jnp.full(count, -jnp.inf), jnp.zeros(count, jnp.int32), jnp.zeros(count))
    chunks = -(-vocabulary // chunk)
    highest_R, likeliest_R, total_R = jax.lax.fori_loop(0, chunks, one_chunk, start)
    return Vocabulary(likeliest_R, highest_R + jnp.log(total_R))
