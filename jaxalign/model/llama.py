"""The Llama decoder over input embeddings, computing nothing that no answer needs.

One sequence at a time; callers vmap over candidates with unbatched weights. Weights keep Hugging
Face's [out, in] layout and are stacked over layers, so that loading transposes nothing and
compilation sees one layer. Letters: S sequence, R read positions, A options, D width, N query
heads, K key/value heads, H head width, F feed-forward width, V vocabulary.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec

from jaxalign.model.attention import AUTO, attend
from jaxalign.model.hf_config import LlamaConfig
from jaxalign.model.quantization import matmul_precision, multiply
from jaxalign.model.rope import rotate, rotation
from jaxalign.model.tree import Tree

_gelu_tanh = partial(jax.nn.gelu, approximate=True)
ACTIVATION_FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "relu": jax.nn.relu,
}
INIT_SCALE = 0.02


class Frozen(nnx.Variable):
    """A weight that no search and no optimiser of a soft prompt may change."""


def linear(inputs: jax.Array, weight: Frozen, bias: Frozen | None) -> jax.Array:
    """Multiply `[rows, in]` by a `[out, in]` weight, and add the bias if there is one."""
    outputs = multiply(inputs, weight.get_value(), matmul_precision(inputs.dtype))
    return outputs if bias is None else outputs + bias[...][None, :]


def rms_norm(inputs_SD: jax.Array, weight: Frozen, epsilon: float) -> jax.Array:
    """Scale each row to unit root mean square in float32, then by the weight `[D]`."""
    rows_SD = inputs_SD.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(rows_SD), axis=-1, keepdims=True)
    normed_SD = rows_SD * jax.lax.rsqrt(mean_square + epsilon)
    return (normed_SD * weight[...].astype(jnp.float32)[None, :]).astype(inputs_SD.dtype)


class Projected(NamedTuple):
    """What attention works on: queries `[R, N, H]`, keys and values `[S, K, H]`."""

    query_RNH: jax.Array
    key_SKH: jax.Array
    value_SKH: jax.Array


class Shared(NamedTuple):
    """What the first layer makes of tokens by themselves, whatever else is in the sequence.

    Attributes:
      embeddings_TD: the tokens' embeddings.
      projected: their queries, keys and values in the first layer.
    """

    embeddings_TD: jax.Array
    projected: Projected


class Block(nnx.Module):
    """All decoder layers: every array is stacked `[layers, ...]`; `at` gives one layer's block."""

    def __init__(self, config: LlamaConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        def weight(outputs: int, inputs: int) -> Frozen:
            shape = (config.layers, outputs, inputs)
            return Frozen(INIT_SCALE * jax.random.normal(rngs.params(), shape, dtype))

        def bias(outputs: int, present: bool) -> Frozen | None:
            return Frozen(jnp.zeros((config.layers, outputs), dtype)) if present else None

        query_width = config.heads * config.head_dim
        kv_width = config.kv_heads * config.head_dim
        self.config = config
        self.attention_norm = Frozen(jnp.ones((config.layers, config.width), dtype))
        self.query = weight(query_width, config.width)
        self.key = weight(kv_width, config.width)
        self.value = weight(kv_width, config.width)
        self.output = weight(config.width, query_width)
        self.query_bias = bias(query_width, config.attention_bias)
        self.key_bias = bias(kv_width, config.attention_bias)
        self.value_bias = bias(kv_width, config.attention_bias)
        self.output_bias = bias(config.width, config.attention_bias)
        self.mlp_norm = Frozen(jnp.ones((config.layers, config.width), dtype))
        self.gate = weight(config.mlp_width, config.width)
        self.up = weight(config.mlp_width, config.width)
        self.down = weight(config.width, config.mlp_width)
        self.gate_bias = bias(config.mlp_width, config.mlp_bias)
        self.up_bias = bias(config.mlp_width, config.mlp_bias)
        self.down_bias = bias(config.width, config.mlp_bias)

    def at(self, layer: int | jax.Array) -> "Block":
        """Take one layer's arrays, without the leading axis; inside a scan this slices in place."""
        take = partial(jax.lax.dynamic_index_in_dim, index=layer, axis=0, keepdims=False)
        return jax.tree.map(take, self)

    def project(self, states_SD: jax.Array, turn: tuple[jax.Array, jax.Array]) -> Projected:
        """Queries, keys and values of this one layer (see `at`), rotated."""
        normed_SD = rms_norm(states_SD, self.attention_norm, self.config.norm_eps)
        key_SKH, value_SKH = self._keys_and_values(normed_SD, turn)
        return Projected(self._queries(normed_SD, turn), key_SKH, value_SKH)

    def read(
        self, states_SD: jax.Array, turn: tuple[jax.Array, jax.Array], read_R: jax.Array
    ) -> Projected:
        """Return these projections with the queries of some rows only."""
        normed_SD = rms_norm(states_SD, self.attention_norm, self.config.norm_eps)
        turn_R = (turn[0][read_R], turn[1][read_R])
        return Projected(
            self._queries(normed_SD[read_R], turn_R), *self._keys_and_values(normed_SD, turn)
        )

    def finish(
        self,
        states_RD: jax.Array,
        projected: Projected,
        mask_RS: jax.Array,
        tree: Tree | None = None,
        attention: str = AUTO,
    ) -> jax.Array:
        """Run attention and feed-forward of this layer for the rows that have queries.

        Args:
          states_RD: the layer's input.
          projected: queries of R rows, keys and values of all S.
          mask_RS: bool, True where a row may attend.
          tree: as `attend` takes it.
          attention: the implementation's name.

        Returns:
          The layer's output `[R, D]`.
        """
        gathered_RNH = attend(*projected, mask_RS, tree, attention)
        gathered_RD = gathered_RNH.reshape(gathered_RNH.shape[0], -1)
        states_RD = states_RD + linear(gathered_RD, self.output, self.output_bias)
        return states_RD + self.feed_forward(states_RD)

    def _queries(self, normed_SD: jax.Array, turn: tuple[jax.Array, jax.Array]) -> jax.Array:
        query_SD = linear(normed_SD, self.query, self.query_bias)
        return rotate(_heads(query_SD, self.config.head_dim), turn)

    def _keys_and_values(
        self, normed_SD: jax.Array, turn: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        key_SD = linear(normed_SD, self.key, self.key_bias)
        value_SD = linear(normed_SD, self.value, self.value_bias)
        head_dim = self.config.head_dim
        return rotate(_heads(key_SD, head_dim), turn), _heads(value_SD, head_dim)

    def feed_forward(self, states_RD: jax.Array) -> jax.Array:
        """Return the gated feed-forward of this one layer, `[R, D]` to `[R, D]`."""
        activate = ACTIVATION_FUNCTIONS[self.config.activation]
        normed_RD = rms_norm(states_RD, self.mlp_norm, self.config.norm_eps)
        gate_RF = linear(normed_RD, self.gate, self.gate_bias).astype(jnp.float32)
        up_RF = linear(normed_RD, self.up, self.up_bias).astype(jnp.float32)
        inner_RF = (activate(gate_RF) * up_RF).astype(states_RD.dtype)
        return linear(inner_RF, self.down, self.down_bias)


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


def _heads(rows: jax.Array, head_dim: int) -> jax.Array:
    return rows.reshape(rows.shape[0], rows.shape[1] // head_dim, head_dim)


class Llama(nnx.Module):
    """A causal language model of Hugging Face's model type `llama`, without its full head.

    Args:
      config: the architecture.
      dtype: type of weights and activations; norms, softmax and logits are float32.
      rngs: source of random weights, scaled as transformers initialises them.
    """

    def __init__(self, config: LlamaConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        shape = (config.vocab_size, config.width)
        self.config = config
        self.embedding = Frozen(INIT_SCALE * jax.random.normal(rngs.params(), shape, dtype))
        self.block = Block(config, dtype=dtype, rngs=rngs)
        self.norm = Frozen(jnp.ones((config.width,), dtype))
        self.head = (
            None
            if config.tied
            else Frozen(INIT_SCALE * jax.random.normal(rngs.params(), shape, dtype))
        )

    def embed(self, tokens_T: jax.Array) -> jax.Array:
        """Look up the embedding rows of token ids `[T]`; gives `[T, D]`."""
        return _whole(self.embedding[...][tokens_T])

    def share(self, tokens_T: jax.Array, positions_T: jax.Array) -> Shared:
        """Return what sequences with these tokens and positions need to compute only once.

        Args:
          tokens_T: token ids.
          positions_T: as in the sequences.
        """
        embeddings_TD = self.embed(tokens_T)
        turn = rotation(self.config.rope, self.config.head_dim, positions_T)
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
        turn = rotation(config.rope, config.head_dim, positions_S)
        own_SD, done = states_SD, 0
        if shared is not None:
            states_SD = _stack_rows(own_SD, shared.embeddings_TD)
        self._check(states_SD, positions_S, mask_SS)
        if shared is not None and config.layers > 1:  # an only layer is also the last, below
            first, own = self.block.at(0), own_SD.shape[0]
            projected = first.project(own_SD, (turn[0][:own], turn[1][:own]))
            projected = jax.tree.map(_stack_rows, projected, shared.projected)
            states_SD = first.finish(states_SD, projected, mask_SS, tree, attention)
            done = 1

        def step(states_SD: jax.Array, layer: jax.Array) -> tuple[jax.Array, None]:
            block = self.block.at(layer)
            projected = block.project(states_SD, turn)
            return block.finish(states_SD, projected, mask_SS, tree, attention), None

        # A gradient would keep a copy of each layer's weights beside the activations otherwise; the
        # forward is unchanged by it.
        step = jax.checkpoint(step, policy=jax.checkpoint_policies.dots_saveable, prevent_cse=False)
        # Scanning over the index, not over the arrays: stack[:-1] would be copied.
        states_SD, _ = jax.lax.scan(step, states_SD, jnp.arange(done, config.layers - 1))
        last = self.block.at(config.layers - 1)
        projected = last.read(states_SD, turn, read_R)
        states_RD = last.finish(states_SD[read_R], projected, mask_SS[read_R], None, attention)
        return _whole(rms_norm(states_RD, self.norm, config.norm_eps))

    def layer_states(
        self, embeddings_SD: jax.Array, positions_S: jax.Array, mask_SS: jax.Array
    ) -> jax.Array:
        """Give every layer's output at every position, before the final norm: `[layers, S, D]`."""
        self._check(embeddings_SD, positions_S, mask_SS)
        turn = rotation(self.config.rope, self.config.head_dim, positions_S)

        def step(states_SD: jax.Array, layer: jax.Array) -> tuple[jax.Array, jax.Array]:
            block = self.block.at(layer)
            states_SD = block.finish(states_SD, block.project(states_SD, turn), mask_SS)
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
