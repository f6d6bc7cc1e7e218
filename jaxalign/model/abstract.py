"""A model without its memory: shapes, counts and names of the arrays, and random weights."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxalign.errors import UserError
from jaxalign.model.architecture import DecoderConfig
from jaxalign.model.decoder import Decoder

Sharding = Callable[[str, tuple[int, ...]], jax.sharding.Sharding]  # by name and shape of a leaf
DTYPES = {"float32": jnp.dtype(jnp.float32), "bfloat16": jnp.dtype(jnp.bfloat16)}


def as_dtype(dtype: Any) -> jnp.dtype:
    """Turn a name or type into the jnp.dtype of weights; raises UserError unless we run it."""
    try:
        found = jnp.dtype(dtype)
    except TypeError:
        found = None
    if found not in DTYPES.values():
        raise UserError(f"model.dtype is {dtype!r}, must be one of {', '.join(DTYPES)}")
    return found


def abstract_model(config: DecoderConfig, dtype: Any) -> tuple[nnx.GraphDef, nnx.State]:
    """Return the model's structure, with a ShapeDtypeStruct for every weight; allocates nothing.

    Args:
      config: the architecture.
      dtype: float32 or bfloat16, of all weights.

    Returns:
      `(graphdef, params)`; the graphdef merges with real params of the same config and dtype.
    """
    dtype = as_dtype(dtype)
    model = nnx.eval_shape(lambda: Decoder(config, dtype=dtype, rngs=nnx.Rngs(0)))
    return nnx.split(model)


def random_model(
    config: DecoderConfig, dtype: Any, seed: int, sharding: Sharding | None = None
) -> tuple[nnx.GraphDef, nnx.State]:
    """Return a model with random weights, for benchmarks and training; same shapes as loaded ones.

    Args:
      config: the architecture.
      dtype: float32 or bfloat16, of all weights.
      seed: of the weights.
      sharding: as `load_model` takes it; each device draws its part.
    """
    graphdef, abstract = abstract_model(config, dtype)
    draw = partial(_draw, config, as_dtype(dtype))
    if sharding is None:
        return graphdef, jax.jit(draw)(jax.random.key(seed))
    shardings = {name: sharding(name, leaf.shape) for name, leaf in named_leaves(abstract).items()}
    laid_out = jax.jit(draw, out_shardings=with_leaves(abstract, shardings))
    return graphdef, laid_out(jax.random.key(seed))


def _draw(config: DecoderConfig, dtype: jnp.dtype, key: jax.Array) -> nnx.State:
    return nnx.state(Decoder(config, dtype=dtype, rngs=nnx.Rngs(key)))


def named_leaves(params: nnx.State) -> dict[str, Any]:
    """Return every array of the params by its dotted name, such as `block.query`, in tree order."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {_name(path): leaf for path, leaf in leaves}


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(str(part.key) for part in path if isinstance(part, jax.tree_util.DictKey))


def with_leaves(params: nnx.State, leaves: dict[str, Any]) -> nnx.State:
    """Return params of the same structure with other arrays, one for every name."""
    names = list(named_leaves(params))
    if set(names) != set(leaves):
        raise ValueError(f"names differ: {sorted(set(names) ^ set(leaves))}")
    structure = jax.tree_util.tree_structure(params)
    return jax.tree_util.tree_unflatten(structure, [leaves[name] for name in names])


def parameter_count(params: nnx.State) -> int:
    """Count the weights, tied ones once; works on arrays and ShapeDtypeStructs."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def parameter_bytes(params: nnx.State) -> int:
    """Return the bytes of all weights, of one copy."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
