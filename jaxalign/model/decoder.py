"""The decoder over input embeddings, computing nothing that no answer needs.

One sequence at a time; callers vmap over candidates with unbatched weights. Letters: S sequence,
T its last tokens, R read positions, A options, D width, V vocabulary.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec

from jaxalign.model.architecture import DecoderConfig
from jaxalign.model.attention import AUTO
from jaxalign.model.block import INIT_SCALE, Block, Frozen, Projected, neutral_norm, rms_norm
from jaxalign.model.quantization import matmul_precision
from jaxalign.model.rope import Turn, rotation
from jaxalign.model.tree import Tree


class Shared(NamedTuple):
    """What the first layer makes of tokens by themselves, whatever else is in the sequence.

    Attributes:
      embeddings_TD: the tokens' embeddings.
      projected: their queries, keys and values in the first layer.
    """

    embeddings_TD: jax.Array
    projected: Projected


def input_embeddings(rows_ND: jax.Array, config: DecoderConfig) -> jax.Array:
    """Turn rows of the embedding table into what the first layer takes, `[N, D]` to `[N, D]`."""
    if not config.family.scaled_embedding:
        return rows_ND
    return rows_ND * jnp.asarray(config.embedding_scale, rows_ND.dtype)


def _whole(rows: jax.Array) -> jax.Array:
    """Return the same on every device of the model axis, where there is one.

    Or the split of the embedding's columns would go on through all layers, and each norm and
    product would have to put the rows together again.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return rows
    return jax.lax.with_sharding_constraint(rows, PartitionSpec())


def _stack_rows(above: jax.Array, below: jax.Array) -> jax.Array:
    return jnp.concatenate([above, below])


class Decoder(nnx.Module):
    """A causal language model of one of the families, without its full head.

    Args:
      config: the architecture.
      dtype: type of weights and activations; norms, softmax and logits are float32.
      rngs: source of random weights, scaled as transformers initialises them.
    """

    def __init__(self, config: DecoderConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        shape = (config.vocab_size, config.width)
        self.config = config
        self.embedding = Frozen(INIT_SCALE * jax.random.normal(rngs.params(), shape, dtype))
        self.block = Block(config, dtype=dtype, rngs=rngs)
        self.norm = neutral_norm((config.width,), config, dtype)
        self.head = (
            None
            if config.tied
            else Frozen(INIT_SCALE * jax.random.normal(rngs.params(), shape, dtype))
        )

    def embed(self, tokens_T: jax.Array) -> jax.Array:
        """Look up the input embeddings of token ids `[T]`; gives `[T, D]`."""
        return _whole(input_embeddings(self.embedding[...][tokens_T], self.config))

    def turns(self, positions_S: jax.Array) -> Callable[[int | jax.Array], Turn]:
        """Return the function from a layer to the rotation of these positions in it."""
        config = self.config
        turn = rotation(config.rope, config.head_dim, positions_S)
        if config.local_rope is None:
            return lambda layer: turn
        local = rotation(config.local_rope, config.head_dim, positions_S)
        is_sliding = jnp.asarray(config.sliding_layers)
        return lambda layer: jax.tree.map(partial(jnp.where, is_sliding[layer]), local, turn)

    def final_norm(self, states_RD: jax.Array) -> jax.Array:
        """Apply the norm that follows the last layer."""
        return rms_norm(states_RD, self.norm, self.config)

    def share(self, tokens_T: jax.Array, positions_T: jax.Array) -> Shared:
        """Return what sequences with these tokens and positions need to compute only once.

        Args:
          tokens_T: token ids.
          positions_T: as in the sequences.
        """
        embeddings_TD = self.embed(tokens_T)
        turn = self.turns(positions_T)(0)
        return Shared(embeddings_TD, self.block.at(0).project(embeddings_TD, turn))

    def __call__(
        self,
        embeddings_SD: jax.Array,
        positions_S: jax.Array,
        mask_SS: jax.Array,
        read_R: jax.Array,
        *,
        attention: str = AUTO,
        tree: Tree | None = None,
        shared: Shared | None = None,
    ) -> jax.Array:
        """Return the final hidden states at the read positions of one sequence.

        The last layer computes keys and values for all of S, and everything else for R only.

        Args:
          embeddings_SD: input embeddings `[S, D]`; cast to the model's type. With `shared`, only
            those before the shared tokens.
          positions_S: integer position of each, for the rotary embedding.
          mask_SS: bool `[S, S]`, True where the row may attend to the column.
          read_R: indices into S of the states wanted.
          attention: a key of `jaxalign.model.attention.IMPLEMENTATIONS`, or `auto`.
          tree: what the mask says, if it is a chain and a tree.
          shared: the sequence's last T tokens, from `share`.

        Returns:
          `[R, D]`, after the final norm.

        Raises:
          ValueError: for shapes that do not fit.
        """
        config = self.config
        states_SD = embeddings_SD.astype(self.embedding.dtype)
        turns = self.turns(positions_S)
        own_SD, done = states_SD, 0
        if shared is not None:
            states_SD = _stack_rows(own_SD, shared.embeddings_TD)
        self._check(states_SD, positions_S, mask_SS)
        if shared is not None and config.layers > 1:  # an only layer is also the last, below
            first, own, turn = self.block.at(0), own_SD.shape[0], turns(0)
            projected = first.project(own_SD, (turn[0][:own], turn[1][:own]))
            projected = jax.tree.map(_stack_rows, projected, shared.projected)
            states_SD = first.finish(states_SD, projected, mask_SS, tree, attention)
            done = 1

        def step(states_SD: jax.Array, layer: jax.Array) -> tuple[jax.Array, None]:
            block = self.block.at(layer)
            projected = block.project(states_SD, turns(layer))
            return block.finish(states_SD, projected, mask_SS, tree, attention), None

        # A gradient would keep a copy of each layer's weights beside the activations otherwise; the
        # forward is unchanged by it.
        step = jax.checkpoint(step, policy=jax.checkpoint_policies.dots_saveable, prevent_cse=False)
        # Scanning over the index, not over the arrays: stack[:-1] would be copied.
        states_SD, _ = jax.lax.scan(step, states_SD, jnp.arange(done, config.layers - 1))
        last = self.block.at(config.layers - 1)
        projected = last.read(states_SD, turns(config.layers - 1), read_R)
        states_RD = last.finish(states_SD[read_R], projected, mask_SS[read_R], None, attention)
        return _whole(self.final_norm(states_RD))

    def layer_states(
        self, embeddings_SD: jax.Array, positions_S: jax.Array, mask_SS: jax.Array
    ) -> jax.Array:
        """Give every layer's output at every position, before the final norm: `[layers, S, D]`."""
        self._check(embeddings_SD, positions_S, mask_SS)
        turns = self.turns(positions_S)

        def step(states_SD: jax.Array, layer: jax.Array) -> tuple[jax.Array, jax.Array]:
            block = self.block.at(layer)
            states_SD = block.finish(states_SD, block.project(states_SD, turns(layer)), mask_SS)
            return states_SD, states_SD

        embeddings_SD = embeddings_SD.astype(self.embedding.dtype)
        return jax.lax.scan(step, embeddings_SD, jnp.arange(self.config.layers))[1]

    def head_rows(self) -> jax.Array:
        """Give the row of each token in the head, `[V, D]`: the embedding's where they are tied."""
        return (self.embedding if self.head is None else self.head)[...]

    def option_logits(self, hidden_RD: jax.Array, ids_RA: jax.Array) -> jax.Array:
        """Return the logits of A tokens per row from their head rows alone.

        Args:
          hidden_RD: final hidden states, as `__call__` gives them.
          ids_RA: token ids `[R, A]`.

        Returns:
          float32 `[R, A]`.
        """
        return jnp.einsum(
            "rd,rad->ra",
            hidden_RD,
            self.head_rows()[ids_RA],
            precision=matmul_precision(hidden_RD.dtype),
            preferred_element_type=jnp.float32,
        )

    def _check(self, embeddings_SD: jax.Array, positions_S: jax.Array, mask_SS: jax.Array) -> None:
        length, width = embeddings_SD.shape
        if width != self.config.width or positions_S.shape != (length,):
            raise ValueError(
                f"embeddings {embeddings_SD.shape} and positions {positions_S.shape} do not fit "
                f"each other or the model's width {self.config.width}"
            )
        if mask_SS.shape != (length, length) or mask_SS.dtype != jnp.bool_:
            raise ValueError(f"mask must be bool [{length}, {length}], is {mask_SS.shape}")
