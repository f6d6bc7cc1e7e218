"""From the model's hidden states to the answers of one soft prompt."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxalign.model import AUTO, Shared, read_vocabulary
from jaxalign.objective import Layout, Objective


def answer_logits(
    model: Any,
    layout: Layout,
    prompt_LD: Float[Array, "L D"],
    attention: str = AUTO,
    shared: Shared | None = None,
) -> Float[Array, "Q A"]:
    """Return float32 logits of the options, -inf where there is no such option.

    Args:
      model: the language model.
      layout: what is asked.
      prompt_LD: soft prompt, cast to the model's type; L may be 0.
      attention: implementation, by name.
      shared: `share_questions` for this length; computed here if None.
    """
    return option_logits(model, layout, answer_states(model, layout, prompt_LD, attention, shared))


def option_logits(
    model: Any, layout: Layout, hidden_RD: Float[Array, "R D"]
) -> Float[Array, "Q A"]:
    """Return float32 logits of the options, -inf where there is no such option.

    Of an option of several tokens, or that can be written in several ways, it is what the logit of
    one token of the same probability would be.

    Args:
      model: the language model.
      layout: what is asked.
      hidden_RD: of `answer_states`.
    """
    questions, longer = layout.answer_ids_QA.shape[0], layout.longer
    logits_QA = model.option_logits(hidden_RD[:questions], layout.answer_ids_QA)
    if longer is not None:
        hidden_KD, hidden_ND = hidden_RD[longer.question_K], hidden_RD[questions:]
        way_K = model.option_logits(hidden_KD, jnp.asarray(longer.first_K)[:, None])[:, 0]
        if longer.nodes_N.shape[0]:
            total_N = read_vocabulary(model.head_rows(), hidden_ND).log_total_R
            tokens_E1 = jnp.asarray(longer.token_E)[:, None]
            step_E = model.option_logits(hidden_ND[longer.node_E], tokens_E1)[:, 0]
            step_E -= total_N[longer.node_E]
            way_K += jax.ops.segment_sum(step_E, longer.path_E, way_K.shape[0])
        # The log of a sum over the ways to write an option; most of them have one.
        slots = logits_QA.size
        top_S = jax.ops.segment_max(jax.lax.stop_gradient(way_K), longer.slot_K, slots)
        top_S = jnp.where(jnp.isfinite(top_S), top_S, 0.0)
        sum_S = jax.ops.segment_sum(jnp.exp(way_K - top_S[longer.slot_K]), longer.slot_K, slots)
        written_S = top_S + jnp.log(jnp.where(sum_S > 0, sum_S, 1.0))
        logits_QA = jnp.where(sum_S > 0, written_S, logits_QA.reshape(-1)).reshape(logits_QA.shape)
    return jnp.where(layout.offered_QA, logits_QA, -jnp.inf)


def answer_states(
    model: Any,
    layout: Layout,
    prompt_LD: Float[Array, "L D"],
    attention: str = AUTO,
    shared: Shared | None = None,
) -> Float[Array, "R D"]:
    """Return the final hidden states at the Q answer nodes, and at the N of `layout.longer`.

    Arguments are as of `answer_logits`.
    """
    length = prompt_LD.shape[0]
    if shared is None:
        shared = share_questions(model, layout, length)
    positions_S, mask_SS, read_Q = lay_out(layout, length)
    return model(
        prompt_LD,
        positions_S,
        mask_SS,
        read_Q,
        attention=attention,
        tree=layout.tree,
        shared=shared,
    )


def lay_out(
    layout: Layout, length: int
) -> tuple[Int[Array, " S"], Bool[Array, "S S"], Int[Array, " R"]]:
    """Return positions, mask and read nodes of L soft rows followed by the trie's T tokens."""
    size = layout.tokens_T.shape[0]
    positions_S = jnp.concatenate([jnp.arange(length), layout.positions_T + length])
    mask_SS = jnp.block(
        [
            [jnp.tri(length, dtype=bool), jnp.zeros((length, size), bool)],
            [jnp.ones((size, length), bool), jnp.asarray(layout.mask_TT)],
        ]
    )
    read_R = layout.answer_nodes_Q
    if layout.longer is not None:
        read_R = jnp.concatenate([jnp.asarray(read_R), jnp.asarray(layout.longer.nodes_N)])
    return positions_S, mask_SS, read_R + length


def share_questions(model: Any, layout: Layout, length: int) -> Shared:
    """Return what the questions cost once for all candidates: T tokens into the first layer."""
    return model.share(layout.tokens_T, layout.positions_T + length)


def read_answers(
    logits_QA: Float[Array, "Q A"], objective: Objective, key: jax.Array
) -> Float[Array, "Q A"]:
    """Return the share of respondents for each option; a sampled readout consumes the key.

    Logits of which one is NaN give NaN, whatever the readout: a choice among them would hide it.
    """
    if objective.readout == "expected":
        return jax.nn.softmax(logits_QA, axis=-1)
    options = logits_QA.shape[-1]
    is_lost_Q1 = jnp.any(jnp.isnan(logits_QA), axis=-1, keepdims=True)
    if objective.readout == "greedy":
        answers_QA = jax.nn.one_hot(jnp.argmax(logits_QA, axis=-1), options)
        return jnp.where(is_lost_Q1, jnp.nan, answers_QA)
    shape = (objective.respondents, logits_QA.shape[0])
    chosen_NQ = jax.random.categorical(key, logits_QA, axis=-1, shape=shape)
    answers_QA = jnp.mean(jax.nn.one_hot(chosen_NQ, options), axis=0)
    return jnp.where(is_lost_Q1, jnp.nan, answers_QA)
