"""Greedy generation after many questions at once: what is written grows the questions' trie.

The tokens of all questions are in one sequence, so their keys and values are computed and kept
once. Each step adds one row for each question, that attends to the question and to what has been
written after it. Letters beside those of `decoder`: Q questions, N tokens written after each,
E stop tokens.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.model.attention import AUTO
from jaxalign.model.block import Projected
from jaxalign.model.decoder import Decoder
from jaxalign.model.tree import Tree
from jaxalign.model.vocabulary import read_vocabulary

NOTHING = -1

Cache = tuple[jax.Array, jax.Array]


class Written(NamedTuple):
    """What a model has written.

    Attributes:
      tokens_QN: int32, token ids; `NOTHING` from where a stop token was written.
      lengths_Q: tokens before that; N where none was.
    """

    tokens_QN: jax.Array
    lengths_Q: jax.Array


def generate(
    model: Decoder,
    embeddings_SD: jax.Array,
    positions_S: jax.Array,
    mask_SS: jax.Array,
    ends_Q: jax.Array,
    *,
    stops_E: jax.Array,
    limit: int,
    attention: str = AUTO,
    tree: Tree | None = None,
) -> Written:
    """Write the likeliest token after each question until a stop token, N times at most.

    Beside the questions' own pass it takes N or fewer passes over Q rows, and keeps keys and values
    of S + N × Q tokens. It attends over N × Q × (S + N × Q) pairs: ask hundreds of questions in
    parts.

    Args:
      model: the language model.
      embeddings_SD: input embeddings `[S, D]` of all questions, soft prompt included.
      positions_S: position of each.
      mask_SS: bool, True where the row may attend to the column.
      ends_Q: index into S of the last token of each question.
      stops_E: ids of the tokens that end an answer; there may be none.
      limit: N.
      attention: implementation, by name.
      tree: what the mask says, if it is a chain and a tree.
    """
    size, questions = embeddings_SD.shape[0], ends_Q.shape[0]
    embeddings_SD = embeddings_SD.astype(model.embedding.dtype)
    cache = _read_questions(model, embeddings_SD, positions_S, mask_SS, attention, tree)
    room = ((0, 0), (0, limit * questions), (0, 0), (0, 0))
    # A question's last token goes through the model again, as the first row of its answer.
    above_QS = mask_SS[ends_Q] & (ends_Q[:, None] != jnp.arange(size)[None])
    own_QQ = jnp.eye(questions, dtype=bool)

    def is_going(carry: tuple) -> jax.Array:
        step, *_, stopped_Q, _ = carry
        return (step < limit) & ~jnp.all(stopped_Q)

    def write(carry: tuple) -> tuple:
        step, states_QD, tokens_QN, stopped_Q, cache = carry
        shown_QNQ = own_QQ[:, None] & (jnp.arange(limit) <= step)[None, :, None]
        mask_QS = jnp.concatenate([above_QS, shown_QNQ.reshape(questions, -1)], axis=1)
        hidden_QD, cache = _advance(
            model, states_QD, positions_S[ends_Q] + step, mask_QS, cache, size + step * questions
        )
        token_Q = read_vocabulary(model.head_rows(), hidden_QD).likeliest_R
        stopped_Q |= jnp.isin(token_Q, stops_E)
        tokens_QN = tokens_QN.at[:, step].set(jnp.where(stopped_Q, NOTHING, token_Q))
        return step + 1, model.embed(token_Q), tokens_QN, stopped_Q, cache

    start = (
        jnp.int32(0),
        embeddings_SD[ends_Q],
        jnp.full((questions, limit), NOTHING, jnp.int32),
        jnp.zeros(questions, bool),
        jax.tree.map(lambda each: jnp.pad(each, room), cache),
    )
    tokens_QN = jax.lax.while_loop(is_going, write, start)[2]
    return Written(tokens_QN, jnp.sum(tokens_QN != NOTHING, axis=1))


def _read_questions(
    model: Decoder,
    states_SD: jax.Array,
    positions_S: jax.Array,
    mask_SS: jax.Array,
    attention: str,
    tree: Tree | None,
) -> Cache:
    """Keys and values `[layers, S, K, H]` of all tokens in all layers."""
    turns = model.turns(positions_S)

    def step(states_SD: jax.Array, layer: jax.Array) -> tuple[jax.Array, Cache]:
        block = model.block.at(layer)
        projected = block.project(states_SD, turns(layer))
        states_SD = block.finish(states_SD, projected, mask_SS, tree, attention)
        return states_SD, (projected.key_SKH, projected.value_SKH)

    return jax.lax.scan(step, states_SD, jnp.arange(model.config.layers))[1]


def _advance(
    model: Decoder,
    states_QD: jax.Array,
    positions_Q: jax.Array,
    mask_QS: jax.Array,
    cache: Cache,
    column: jax.Array,
) -> tuple[jax.Array, Cache]:
    """Final hidden states of one more row for each question; their columns begin at `column`."""
    turns = model.turns(positions_Q)

    def step(carry: tuple[jax.Array, Cache], layer: jax.Array) -> tuple:
        states_QD, (keys, values) = carry
        block = model.block.at(layer)
        query_QNH, key_QKH, value_QKH = block.project(states_QD, turns(layer))
        place = (layer, column, 0, 0)
        keys = jax.lax.dynamic_update_slice(keys, key_QKH[None], place)
        values = jax.lax.dynamic_update_slice(values, value_QKH[None], place)
        states_QD = block.finish(
            states_QD, Projected(query_QNH, keys[layer], values[layer]), mask_QS
        )
        return (states_QD, (keys, values)), None

    layers = jnp.arange(model.config.layers)
    (states_QD, cache), _ = jax.lax.scan(step, (states_QD, cache), layers)
    return model.final_norm(states_QD), cache
