"""How each weight is split over the mesh's model axis: tensor parallelism, two sums a layer.

Queries, keys, values, gate and up are split by their outputs, that is by heads and feed-forward
units, which each device then works on alone; output and down by their inputs, so that their
products are summed over the devices. Embedding and head are split by width: of both only a few rows
are read, which are put together, or whose products are summed. Norms are copied. The scheme is that
of Megatron-LM (Shoeybi et al. 2019, arXiv 1909.08053, section 3).
"""

import jax
from jax.sharding import NamedSharding, PartitionSpec

from jaxalign.devices.mesh import MODEL
from jaxalign.model.abstract import Sharding
from jaxalign.model.architecture import DecoderConfig

_BY_OUTPUT = ("query", "key", "value", "gate", "up")
_BY_INPUT = ("output", "down")
_BY_WIDTH = ("embedding", "head")


def partition(name: str) -> PartitionSpec:
    """Return how the stacked weight of a dotted name, such as `block.query`, is split."""
    name = name.removeprefix("block.")
    if name in _BY_WIDTH or name.removesuffix("_bias") in _BY_OUTPUT:
        return PartitionSpec(None, MODEL)
    return PartitionSpec(None, None, MODEL) if name in _BY_INPUT else PartitionSpec()


def split_sizes(config: DecoderConfig) -> dict[str, int]:
    """Return the sizes that the model axis must divide, in words."""
    return {
        "heads": config.heads,
        "key/value heads": config.kv_heads,
        "feed-forward units": config.mlp_width,
        "columns": config.width,
    }


def sharding_over(mesh: jax.sharding.Mesh | None) -> Sharding | None:
    """Return what `load_model` takes to lay the weights over a mesh; None without one."""
    return (lambda name, _: NamedSharding(mesh, partition(name))) if mesh else None
