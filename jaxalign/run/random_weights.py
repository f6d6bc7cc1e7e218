"""Random weights of a model's shape: what needs no download and means nothing."""

import dataclasses
from importlib import resources
from typing import Any

import jax
import numpy as np
import yaml

from jaxalign.devices.memory import available_bytes
from jaxalign.devices.mesh import copy_everywhere, shape_of
from jaxalign.errors import UserError
from jaxalign.model import (
    DecoderConfig,
    abstract_model,
    parameter_bytes,
    parameter_count,
    parse_config,
    random_model,
    sharding_over,
)
from jaxalign.problem import Problem, check_positions, mesh_for, quantize_problem, row_norm_of
from jaxalign.settings import Settings


def _read_shapes() -> dict[str, dict[str, Any]]:
    text = resources.files("jaxalign.run").joinpath("shapes.yaml").read_text(encoding="utf-8")
    shapes = yaml.safe_load(text)
    return {name: shape for name, shape in shapes.items() if not name.startswith(".")}


SHAPES = _read_shapes()
RANDOM_NOTICE = "random weights: the figures are a model's of this shape, its answers mean nothing"


def with_random_weights(settings: Settings, problem: Problem, shape: str) -> Problem:
    """Give the same questions to a model of another shape, drawn on the device from the seed.

    Args:
      settings: of the run.
      problem: whose tokenizer and trie stay.
      shape: a key of `SHAPES`.

    Raises:
      UserError: the tokenizer has more tokens than the shape, a question more positions, or the
        device too little memory for the weights, of which nothing is allocated then.
    """
    model_config = parse_config(SHAPES[shape], shape)
    if len(problem.tokenizer) > model_config.vocab_size:
        raise UserError(
            f"--model={shape} has {model_config.vocab_size} tokens and the config's tokenizer "
            f"{len(problem.tokenizer)}: give --config=NAME:embedded"
        )
    check_positions(model_config, problem.questions, settings.prompt.length)
    mesh, dtype = mesh_for(settings, model_config, len(problem.targets)), settings.model.dtype
    _check_memory(model_config, dtype, shape, shape_of(mesh)[1])
    graphdef, weights = random_model(model_config, dtype, settings.seed, sharding_over(mesh))
    task = problem.task.with_goal(row_norm=np.float32(row_norm_of(weights, model_config)))
    problem = dataclasses.replace(
        problem,
        task=copy_everywhere(mesh, task),
        graphdef=graphdef,
        weights=weights,
        model_config=model_config,
        notice=RANDOM_NOTICE,
        full_naive_QA=None,
        mesh=mesh,
    )
    return quantize_problem(problem, settings.model.quantization)


def _check_memory(model_config: DecoderConfig, dtype: str, shape: str, parts: int) -> None:
    """Raise UserError, with the arithmetic, where the weights alone are more than is left."""
    _, abstract = abstract_model(model_config, dtype)
    device = jax.local_devices()[0]
    parts = 1 if device.platform == "cpu" else parts  # which share the host's memory
    count, needed = parameter_count(abstract), parameter_bytes(abstract)
    left = available_bytes(device)
    if left is not None and needed > left * parts:
        split = f" / {parts} = {needed / parts / 2**30:.1f} GiB" * (parts > 1)
        raise UserError(
            f"--model={shape}: {count:,} parameters x {needed // count} bytes ({dtype}) are "
            f"{needed / 2**30:.1f} GiB{split} of weights, and {device.device_kind} has "
            f"{left / 2**30:.1f} GiB left; give a smaller --model"
            + (", or model.dtype=bfloat16" if dtype == "float32" else "")
        )
