"""One layer of the decoder: attention and feed-forward over rows that it is given.

Weights keep Hugging Face's [out, in] layout and are stacked over layers, so that loading transposes
nothing and compilation sees one layer. Letters: S sequence, R read positions, D width, N query
heads, K key/value heads, H head width, F feed-forward width.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxalign.model.architecture import DecoderConfig
from jaxalign.model.attention import AUTO, attend
from jaxalign.model.quantization import matmul_precision, multiply
from jaxalign.model.rope import Turn, rotate
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


def norm_scale(weight: Frozen, config: DecoderConfig) -> jax.Array:
    """Return what a norm multiplies by, in float32."""
    scale = weight[...].astype(jnp.float32)
    return 1.0 + scale if config.family.unit_offset else scale


def rms_norm(inputs: jax.Array, weight: Frozen, config: DecoderConfig) -> jax.Array:
    """Scale the last axis to unit root mean square in float32, then by its weight, or by 1 + it."""
    rows = inputs.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(rows), axis=-1, keepdims=True)
    normed = rows * jax.lax.rsqrt(mean_square + config.norm_eps)
    scale = norm_scale(weight, config)
    return (normed * jnp.expand_dims(scale, range(inputs.ndim - 1))).astype(inputs.dtype)


def neutral_norm(shape: tuple[int, ...], config: DecoderConfig, dtype: jnp.dtype) -> Frozen:
    """Return the weight of a norm that scales by 1."""
    return Frozen(jnp.full(shape, 0 if config.family.unit_offset else 1, dtype))


class Projected(NamedTuple):
    """What attention works on: queries `[R, N, H]`, keys and values `[S, K, H]`."""

    query_RNH: jax.Array
    key_SKH: jax.Array
    value_SKH: jax.Array


class Block(nnx.Module):
    """All decoder layers: every array is stacked `[layers, ...]`; `at` gives one layer's block."""

    def __init__(self, config: DecoderConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        def weight(outputs: int, inputs: int) -> Frozen:
            shape = (config.layers, outputs, inputs)
            return Frozen(INIT_SCALE * jax.random.normal(rngs.params(), shape, dtype))

        def bias(outputs: int, present: bool) -> Frozen | None:
            return Frozen(jnp.zeros((config.layers, outputs), dtype)) if present else None

        def norm(width: int, present: bool = True) -> Frozen | None:
            return neutral_norm((config.layers, width), config, dtype) if present else None

        family = config.family
        query_width = config.heads * config.head_dim
        kv_width = config.kv_heads * config.head_dim
        self.config = config
        self.attention_norm = norm(config.width)
        self.query = weight(query_width, config.width)
        self.key = weight(kv_width, config.width)
        self.value = weight(kv_width, config.width)
        self.output = weight(config.width, query_width)
        self.query_bias = bias(query_width, config.attention_bias)
        self.key_bias = bias(kv_width, config.attention_bias)
        self.value_bias = bias(kv_width, config.attention_bias)
        self.output_bias = bias(config.width, config.attention_bias and family.output_bias)
        self.query_norm = norm(config.head_dim, family.query_key_norms)
        self.key_norm = norm(config.head_dim, family.query_key_norms)
        self.attention_output_norm = norm(config.width, family.sandwich_norms)
        self.mlp_norm = norm(config.width)
        self.mlp_output_norm = norm(config.width, family.sandwich_norms)
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

    def project(self, states_SD: jax.Array, turn: Turn) -> Projected:
        """Queries, keys and values of this one layer (see `at`), rotated."""
        normed_SD = self._normed(states_SD, self.attention_norm)
        key_SKH, value_SKH = self._keys_and_values(normed_SD, turn)
        return Projected(self._queries(normed_SD, turn), key_SKH, value_SKH)

    def read(self, states_SD: jax.Array, turn: Turn, read_R: jax.Array) -> Projected:
        """Return these projections with the queries of some rows only."""
        normed_SD = self._normed(states_SD, self.attention_norm)
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
        attended_RD = linear(gathered_RD, self.output, self.output_bias)
        states_RD = states_RD + self._normed(attended_RD, self.attention_output_norm)
        return states_RD + self._normed(self.feed_forward(states_RD), self.mlp_output_norm)

    def _queries(self, normed_SD: jax.Array, turn: Turn) -> jax.Array:
        config = self.config
        query_SD = linear(normed_SD, self.query, self.query_bias)
        query_SNH = self._normed(_heads(query_SD, config.head_dim), self.query_norm)
        if config.query_scale != 1.0:
            query_SNH = (query_SNH.astype(jnp.float32) * config.query_scale).astype(query_SD.dtype)
        return rotate(query_SNH, turn)

    def _keys_and_values(self, normed_SD: jax.Array, turn: Turn) -> tuple[jax.Array, jax.Array]:
        key_SD = linear(normed_SD, self.key, self.key_bias)
        value_SD = linear(normed_SD, self.value, self.value_bias)
        head_dim = self.config.head_dim
        key_SKH = self._normed(_heads(key_SD, head_dim), self.key_norm)
        return rotate(key_SKH, turn), _heads(value_SD, head_dim)

    def _normed(self, rows: jax.Array, weight: Frozen | None) -> jax.Array:
        return rows if weight is None else rms_norm(rows, weight, self.config)

    def feed_forward(self, states_RD: jax.Array) -> jax.Array:
        """Return the gated feed-forward of this one layer, `[R, D]` to `[R, D]`."""
        activate = ACTIVATION_FUNCTIONS[self.config.activation]
        normed_RD = self._normed(states_RD, self.mlp_norm)
        gate_RF = linear(normed_RD, self.gate, self.gate_bias).astype(jnp.float32)
        up_RF = linear(normed_RD, self.up, self.up_bias).astype(jnp.float32)
        inner_RF = _finished_on_tpu((activate(gate_RF) * up_RF).astype(states_RD.dtype))
        return linear(inner_RF, self.down, self.down_bias)


@jax.custom_jvp
def _finished_on_tpu(array: jax.Array) -> jax.Array:
    """Return the array, which a TPU makes before it begins with what comes after.

    XLA would make the inner activations again for each tile of the product with `down`, which takes
    a v5e 6% of a layer more by its own estimate (docs/accelerators.md).
    """
    return jax.lax.platform_dependent(
        array, tpu=jax.lax.optimization_barrier, default=lambda same: same
    )


_finished_on_tpu.defjvp(lambda primals, tangents: (*primals, *tangents))  # a gradient is as it was


def _heads(rows: jax.Array, head_dim: int) -> jax.Array:
    return rows.reshape(rows.shape[0], rows.shape[1] // head_dim, head_dim)
