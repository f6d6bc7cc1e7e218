"""A problem and a search of shapes alone, laid over devices that need not be there."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec

from jaxalign.benchmark.ahead.chips import Target
from jaxalign.config import with_keys
from jaxalign.devices.mesh import choose_shape, everywhere, make_mesh
from jaxalign.model import (
    abstract_model,
    check_attention,
    parameter_bytes,
    parse_config,
    quantize,
    sharding_over,
    split_sizes,
)
from jaxalign.problem import Problem, check_positions, load_problem
from jaxalign.run.initialization import make_space
from jaxalign.run.random_weights import SHAPES
from jaxalign.search import SearchPlan, strategy_for
from jaxalign.settings import Settings

_HERE = {  # how the questions are loaded
    "mesh.population": 1,
    "mesh.model": 1,
    "model.quantization": "none",
    "evaluation.attention": "auto",
}


def abstract_problem(settings: Settings, target: Target, shape: str | None = None) -> Problem:
    """Return a problem whose weights and task are shapes on the target's devices.

    Args:
      settings: of the run.
      target: whose devices they lie on; as many as the mesh takes.
      shape: a key of `SHAPES`; None for the config's own model.

    Raises:
      UserError: the settings do not fit each other or the devices.
    """
    problem = load_problem(with_keys(settings, _HERE))
    model = parse_config(SHAPES[shape], shape) if shape else problem.model_config
    check_positions(model, problem.questions, settings.prompt.length)
    graphdef, weights = abstract_model(model, settings.model.dtype)
    weights = jax.eval_shape(
        lambda full: quantize(full, settings.model.quantization, True), weights
    )
    candidates = len(problem.targets) * settings.search.population
    mesh_shape = choose_shape(
        (settings.mesh.population, settings.mesh.model),
        len(target.devices),
        candidates,
        split_sizes(model),
        parameter_bytes(weights),
        target.memory,
    )
    platform = {"cuda": "gpu"}.get(target.platform, target.platform)
    dtype, attention = settings.model.dtype, settings.evaluation.attention
    check_attention(attention, platform, dtype, mesh_shape[0] * mesh_shape[1])
    mesh = make_mesh(*mesh_shape, target.devices)
    return dataclasses.replace(
        problem,
        graphdef=graphdef,
        weights=_lay_weights(weights, target, mesh),
        task=lay(problem.task, target, mesh),
        model_config=model,
        mesh=mesh,
    )


def abstract_plan(settings: Settings, problem: Problem, target: Target) -> SearchPlan:
    """Return the plan of a search in which every array is a shape; its spread means nothing."""
    candidates = len(problem.targets) * settings.search.population
    prompts_ELD = jax.ShapeDtypeStruct(
        (candidates, settings.prompt.length, problem.model_config.width), jnp.float32
    )

    def space_of(weights: Any, prompts_ELD: jax.Array) -> Any:
        there = dataclasses.replace(problem, weights=weights, mesh=None)
        return make_space(settings, there, prompts_ELD)

    space = jax.eval_shape(space_of, problem.weights, prompts_ELD)
    vectors_E = jax.ShapeDtypeStruct((candidates, *space.shape), jnp.float32)
    return SearchPlan(
        seed=settings.seed,
        space=lay(space, target, problem.mesh),
        strategy=strategy_for(settings.search, space.shape, 1.0),
        vectors_E=lay(vectors_E, target, problem.mesh),
        spread=1.0,
        migrants=settings.search.migrants,
        reevaluate=settings.objective.reevaluate if problem.has_noisy_loss else 0,
    )


def lay(tree: Any, target: Target, mesh: jax.sharding.Mesh | None) -> Any:
    """Return the shapes and types of arrays that every device has."""
    where = everywhere(mesh) or jax.sharding.SingleDeviceSharding(target.devices[0])
    return jax.tree.map(lambda leaf: _struct(leaf, where), tree)


def _lay_weights(weights: nnx.State, target: Target, mesh: jax.sharding.Mesh | None) -> nnx.State:
    """Return the shapes of weights as a run lays them, quantised ones like their originals."""
    if mesh is None:
        return lay(weights, target, mesh)
    sharding = sharding_over(mesh)
    assert sharding is not None

    def one(path: Any, leaf: Any) -> jax.ShapeDtypeStruct:
        names = [str(part.key) for part in path if isinstance(part, jax.tree_util.DictKey)]
        own = [name for name in names if name not in ("values", "scales")]
        where = sharding(".".join(own), leaf.shape)
        spec = PartitionSpec(*where.spec[: len(leaf.shape)])
        return _struct(leaf, jax.sharding.NamedSharding(mesh, spec))

    return jax.tree_util.tree_map_with_path(one, weights)


def _struct(leaf: Any, where: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(
        jnp.shape(leaf),
        jax.dtypes.canonicalize_dtype(leaf.dtype)
        if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else leaf.dtype,
        sharding=where,
    )
