"""The configs that are compared with transformers, and how its torch model runs on them."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np

BASE = {
    "model_type": "llama",
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"factor": 4.0, "original_max_position_embeddings": 32}


def _v5(kind: str, theta: float = 10000.0, **scaling: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **scaling}}


def _v4(theta: float, key: str = "rope_type", **scaling: Any) -> dict[str, Any]:
    kind = {key: scaling.pop("kind")} if scaling else None
    return {"rope_theta": theta, "rope_scaling": kind and kind | scaling}


# What each case adds to BASE; together they cover every kind of config that we accept.
CASES: dict[str, dict[str, Any]] = {
    "gqa": {},
    "mha": {"num_key_value_heads": None},
    "mqa": {"num_key_value_heads": 1},
    "one_layer": {"num_hidden_layers": 1},
    "wide_heads": {"head_dim": 12},
    "narrow_heads": {"head_dim": 4, "num_attention_heads": 8},
    "tied": {"tie_word_embeddings": True},
    "biased": {"attention_bias": True, "mlp_bias": True, "rms_norm_eps": 1e-3},
    "gelu": {"hidden_act": "gelu", "mlp_bias": True},
    "gelu_new": {"hidden_act": "gelu_new"},
    "gelu_tanh": {"hidden_act": "gelu_pytorch_tanh", "attention_bias": True},
    "relu": {"hidden_act": "relu"},
    "v5_theta": _v5("default", 500000.0),
    "v5_linear": _v5("linear", 10000.0, factor=3.0),
    "v5_dynamic": _v5("dynamic", 10000.0, factor=3.0),
    "v5_llama3": _v5("llama3", 500000.0, **LLAMA3) | {"tie_word_embeddings": True},
    "v5_yarn": _v5("yarn", 10000.0, **YARN),
    "v5_yarn_full": _v5(
        "yarn",
        10000.0,
        **YARN,
        beta_fast=16.0,
        beta_slow=2.0,
        mscale=1.2,
        mscale_all_dim=0.8,
        truncate=False,
    ),
    "v5_yarn_factor": _v5("yarn", 10000.0, **YARN, attention_factor=1.7),
    "v4_theta": _v4(500000.0),
    "v4_linear": _v4(10000.0, key="type", kind="linear", factor=2.0),
    "v4_dynamic": _v4(10000.0, key="type", kind="dynamic", factor=2.0),
    "v4_llama3": _v4(500000.0, kind="llama3", **LLAMA3) | {"head_dim": 16},
    "v4_yarn": _v4(10000.0, kind="yarn", **YARN) | {"num_key_value_heads": 1},
}


def random_case(seed: int) -> dict[str, Any]:
    """Draw a config from everything that we accept, always the same one for a seed."""
    draw = random.Random(seed)
    kv_heads = draw.choice([1, 2, 3])
    heads = kv_heads * draw.choice([1, 2, 4])
    head_dim = draw.choice([6, 8, 16])
    theta = draw.choice([10000.0, 500000.0, 1234.5])
    rope = draw.choice(
        [
            _v5("default", theta),
            _v5("linear", theta, factor=draw.uniform(1, 8)),
            _v5("llama3", theta, **LLAMA3),
            _v5("yarn", theta, **YARN),
            _v4(theta, kind="llama3", **LLAMA3),
            _v4(theta, key="type", kind="linear", factor=4.0),
        ]
    )
    return rope | {
        "vocab_size": draw.randint(40, 90),
        "hidden_size": heads * draw.choice([4, 6]),
        "intermediate_size": draw.randint(8, 64),
        "num_hidden_layers": draw.randint(1, 5),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "hidden_act": draw.choice(["silu", "gelu", "gelu_pytorch_tanh", "relu"]),
        "attention_bias": draw.random() < 0.5,
        "mlp_bias": draw.random() < 0.5,
        "tie_word_embeddings": draw.random() < 0.5,
        "rms_norm_eps": draw.choice([1e-6, 1e-5, 1e-2]),
    }


CASES |= {f"random_{seed}": random_case(seed) for seed in range(6)}


def torch_model(raw: dict[str, Any], seed: int = 0) -> Any:
    """Build transformers' model in float32 with weights that make every part of it matter."""
    import torch
    import transformers

    fields = {name: value for name, value in raw.items() if name != "model_type"}
    config = transformers.LlamaConfig(**fields, attn_implementation="eager")
    model = transformers.LlamaForCausalLM(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if "norm" in name:
                weight.copy_(1 + 0.2 * noise)
            elif weight.ndim == 1:
                weight.copy_(0.3 * noise)
            else:
                weight.copy_(noise * weight.shape[1] ** -0.5)
    return model


def torch_outputs(
    model: Any, tokens: np.ndarray, positions: np.ndarray, mask: np.ndarray
) -> dict[str, np.ndarray]:
    """Run transformers on one sequence.

    Returns `states` [layers - 1, S, D] (the output of every layer but the last), `hidden` [S, D]
    (after the last layer and the final norm: what transformers calls hidden_states[-1]) and
    `logits` [S, V].
    """
    import torch

    bias = torch.where(torch.tensor(mask), 0.0, torch.finfo(torch.float32).min)
    with torch.no_grad():
        outputs = model(
            torch.tensor(tokens)[None],
            position_ids=torch.tensor(positions)[None],
            attention_mask=bias[None, None],
            output_hidden_states=True,
            use_cache=False,
        )
    states = [state[0].numpy() for state in outputs.hidden_states]
    return {
        "states": np.stack(states[1:-1]) if states[1:-1] else np.zeros((0, *states[0].shape)),
        "hidden": states[-1],
        "logits": outputs.logits[0].numpy(),
    }


def save_torch(model: Any, raw: dict[str, Any], folder: Path, shard: str = "5GB") -> Path:
    """Save through transformers, then put back the config in the dialect of `raw`."""
    model.save_pretrained(folder, max_shard_size=shard)
    (folder / "config.json").write_text(json.dumps(raw))
    return folder


def inputs(vocab: int, length: int = 24, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Draw tokens, give causal positions and mask."""
    tokens = np.random.default_rng(seed).integers(0, vocab, length)
    return tokens, np.arange(length), np.tril(np.ones((length, length), bool))


def relative_error(ours: Any, theirs: np.ndarray) -> float:
    """Largest deviation over the largest value."""
    ours = np.asarray(ours)
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max()) if theirs.size else 0.0
