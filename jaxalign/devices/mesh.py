"""The devices of a run as a grid: candidates over one axis, the model's weights over the other.

The weights are copied along `population` and split along `model`; the search's state is split over
all devices along the coordinates, where it needs nothing from its neighbours. One device has no
mesh (None), and nothing here changes anything for it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxalign.devices.distributed import smallest
from jaxalign.devices.memory import device_bytes
from jaxalign.errors import UserError

POPULATION, MODEL = "population", "model"
_WEIGHTS_SHARE = 0.75  # of a device, above which `mesh.model=0` splits the weights further
_GIB = 2**30


def make_mesh(
    population: int, model: int, devices: Sequence[Any] | None = None
) -> jax.sharding.Mesh | None:
    """Return a grid of the first population × model devices (JAX's if None); None for one."""
    if population * model == 1:
        return None
    return jax.make_mesh(
        (population, model),
        (POPULATION, MODEL),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=(devices or jax.devices())[: population * model],
    )


def shape_of(mesh: jax.sharding.Mesh | None) -> tuple[int, int]:
    """Devices along `population` and `model`."""
    return (mesh.shape[POPULATION], mesh.shape[MODEL]) if mesh else (1, 1)


def choose_mesh(
    asked: tuple[int, int], candidates: int, split: Mapping[str, int], weight_bytes: int
) -> jax.sharding.Mesh | None:
    """Return the mesh of `mesh.population` and `mesh.model`, each of which 0 leaves open.

    What is left open uses the most devices, and of such meshes the one that splits the weights the
    least, as far as they fit.

    Args:
      asked: the two keys.
      candidates: evaluated in one generation, the most that `population` can be.
      split: what the model axis has to divide, by name, such as `heads`.
      weight_bytes: of the whole model.

    Raises:
      UserError: no such mesh can work, with the arithmetic.
    """
    devices, memory = jax.device_count(), smallest(device_bytes(jax.local_devices()[0]))
    population, model = choose_shape(asked, devices, candidates, split, weight_bytes, memory)
    if jax.process_count() > 1 and population * model != devices:
        raise UserError(
            f"mesh.population={population} × mesh.model={model} = {population * model} devices, "
            f"and the {jax.process_count()} processes have {devices}: all must be used"
        )
    return make_mesh(population, model)


def choose_shape(
    asked: tuple[int, int],
    devices: int,
    candidates: int,
    split: Mapping[str, int],
    weight_bytes: int,
    memory: int | None,
) -> tuple[int, int]:
    """Return what `choose_mesh` chooses, for devices of a memory in bytes (None: unknown)."""
    keys = f"mesh.population={asked[0]}, mesh.model={asked[1]}"
    possible = [m for m in range(1, devices + 1) if all(size % m == 0 for size in split.values())]
    if asked[1] and asked[1] not in possible:
        if asked[1] > devices:
            raise UserError(f"{keys}: there are {devices} devices")
        sizes = ", ".join(
            f"{size} {name} = {size // asked[1]} × {asked[1]} + {size % asked[1]}"
            for name, size in split.items()
            if size % asked[1]
        )
        raise UserError(f"{keys}: {sizes}; mesh.model can be {_either(possible)}")
    able = [asked[1]] if asked[1] else possible
    if memory is not None:
        roomy = [m for m in able if fits_whole(weight_bytes / m, memory)]
        able = roomy or [m for m in able if weight_bytes / m < memory][-1:]
        if not able:
            most = asked[1] or possible[-1]
            raise UserError(
                f"{keys}: {weight_bytes / _GIB:.1f} GiB of weights / {most} = "
                f"{weight_bytes / most / _GIB:.1f} GiB a device, which has {memory / _GIB:.1f}; "
                "give more or larger devices, or model.quantization=int8_weights"
            )
    found = [(asked[0] or max(1, min(devices // m, candidates)), m) for m in able]
    fitting = [shape for shape in found if math.prod(shape) <= devices] or found[:1]
    population, model = max(fitting, key=lambda shape: (math.prod(shape), -shape[1]))
    if population * model > devices:
        raise UserError(
            f"{keys}: {population} × {model} = {population * model} devices, and there are "
            f"{devices}"
        )
    if population > candidates:
        raise UserError(
            f"{keys}: {population} devices along population for {candidates} candidates of a "
            "generation; give at most as many"
        )
    return population, model


def fits_whole(weight_bytes: float, memory: int) -> bool:
    """Return whether weights leave a device enough memory to work with them."""
    return weight_bytes <= _WEIGHTS_SHARE * memory


def _either(numbers: list[int]) -> str:
    return " or ".join(filter(None, (", ".join(map(str, numbers[:-1])), str(numbers[-1]))))


def everywhere(mesh: jax.sharding.Mesh | None) -> NamedSharding | None:
    """Return a copy on every device; None without a mesh, which leaves it to JAX."""
    return NamedSharding(mesh, PartitionSpec()) if mesh else None


def copy_everywhere(mesh: jax.sharding.Mesh | None, tree: Any) -> Any:
    """Return the same arrays with a copy on every device; the very same ones without a mesh.

    With several processes each gives its own copy, and all must be equal.
    """
    where = everywhere(mesh)
    if where is None:
        return tree

    def copy(leaf: Any) -> jax.Array:
        local = where.is_fully_addressable or not getattr(leaf, "is_fully_addressable", True)
        if local:  # or already on all devices of all processes
            return jax.device_put(leaf, where)
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            key = copy(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(key, impl=jax.random.key_impl(leaf))
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, where, lambda index: host[index])

    return jax.tree.map(copy, tree)


def along_coordinates(mesh: jax.sharding.Mesh, tree: Any, coordinates: int) -> Any:
    """Shardings of a strategy's state: what ends in the coordinates is split along them.

    A state whose coordinates do not divide among the devices is copied: it is small then, or its
    prompt has an odd shape.

    Args:
      mesh: of the run.
      tree: of arrays, or of their shapes and types.
      coordinates: of a search vector.
    """

    def sharding(leaf: Any) -> NamedSharding:
        splits = leaf.ndim and leaf.shape[-1] == coordinates and coordinates % mesh.size == 0
        spec = [*[None] * (leaf.ndim - 1), (POPULATION, MODEL)] if splits else []
        return NamedSharding(mesh, PartitionSpec(*spec))

    return jax.tree.map(sharding, tree)
