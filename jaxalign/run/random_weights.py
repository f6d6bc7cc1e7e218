"""Random weights of a model's shape: what needs no download and means nothing."""

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxalign.devices.memory import available_bytes
from jaxalign.devices.mesh import copy_everywhere, shape_of
from jaxalign.errors import UserError
from jaxalign.model import (
    LlamaConfig,
    abstract_model,
    parameter_bytes,
    parameter_count,
    parse_config,
    random_model,
    sharding_over,
)
from jaxalign.problem import Problem, check_positions, mesh_for, quantize_problem, row_norm_of
from jaxalign.settings import Settings

_LLAMA3 = {
    "model_type": "llama",
    "vocab_size": 128256,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
}
_LLAMA32 = _LLAMA3 | {
    "max_position_embeddings": 131072,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "tie_word_embeddings": True,
}


def _small(layers: int, width: int) -> dict[str, Any]:
    """Llama-3-8B's proportions at a size for a laptop, with heads of 64."""
    return _LLAMA3 | {
        "vocab_size": 2048,
        "hidden_size": width,
        "intermediate_size": width * 7 // 2,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "num_key_value_heads": width // 256,
        "max_position_embeddings": 8192,
    }


# config.json of Llama-3.2-1B, Llama-3.2-3B, Meta-Llama-3-8B and Meta-Llama-3-70B, without what no
# shape needs; then layers x width.
SHAPES: dict[str, dict[str, Any]] = {
    "llama3-1b": _LLAMA32
    | {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "head_dim": 64,
    },
    "llama3-3b": _LLAMA32
    | {
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 28,
        "num_attention_heads": 24,
        "head_dim": 128,
    },
    "llama3-8b": _LLAMA3
    | {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": False,
    },
    "llama3-70b": _LLAMA3
    | {
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": False,
    },
    "2x512": _small(2, 512),
    "4x256": _small(4, 256),
    "8x512": _small(8, 512),
}
RANDOM_NOTICE = "random weights: the figures are a model's of this shape, its answers mean nothing"


def with_random_weights(settings: Settings, problem: Problem, shape: str) -> Problem:
    """Gives the same questions to a model of another shape, drawn on the device from the seed.

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
    task = problem.task.with_goal(row_norm=np.float32(row_norm_of(weights)))
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


def _check_memory(model_config: LlamaConfig, dtype: str, shape: str, parts: int) -> None:
    """Raises UserError, with the arithmetic, where the weights alone are more than is left."""
    _, abstract = abstract_model(model_config, dtype)
    device = jax.local_devices()[0]
    parts = 1 if device.platform == "cpu" else parts  # which share the host's memory
    count, needed, left = (
        parameter_count(abstract),
        parameter_bytes(abstract),
        available_bytes(device),
    )
    if left is not None and needed > left * parts:
        split = f" / {parts} = {needed / parts / 2**30:.1f} GiB" * (parts > 1)
        raise UserError(
            f"--model={shape}: {count:,} parameters x {needed // count} bytes ({dtype}) are "
            f"{needed / 2**30:.1f} GiB{split} of weights, and {device.device_kind} has "
            f"{left / 2**30:.1f} GiB left; give a smaller --model"
            + (", or model.dtype=bfloat16" if dtype == "float32" else "")
        )
