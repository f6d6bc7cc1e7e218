"""How much of a model's next-token probability lies on the options at all."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxalign.fitness import answer_states
from jaxalign.model import AUTO, read_vocabulary
from jaxalign.objective import Layout


def option_mass(
    graphdef: Any,
    weights: Any,
    layout: Layout,
    prompt_LD: Float[Array, "L D"],
    attention: str = AUTO,
) -> Float[Array, "Q A"]:
    """Probability of each option's token among the whole vocabulary, where the answer begins.

    The rest, `1 - sum over A`, is the off-scale mass: what the option probabilities, which sum to
    one, do not show. Zero where there is no such option.

    Args:
      graphdef: the model's structure.
      weights: the model's arrays.
      layout: what is asked.
      prompt_LD: soft prompt; L may be 0.
      attention: implementation, by name.
    """
    model = nnx.merge(graphdef, weights)
    hidden_QD = answer_states(model, layout, prompt_LD, attention)
    logits_QA = model.option_logits(hidden_QD, layout.answer_ids_QA)
    log_total_Q = read_vocabulary(model.head_rows(), hidden_QD).log_total_R
    return jnp.where(layout.offered_QA, jnp.exp(logits_QA - log_total_Q[:, None]), 0.0)
