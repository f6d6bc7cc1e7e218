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

FAMILY_CASES: dict[str, dict[str, Any]] = {
    "mistral": {"model_type": "mistral", "head_dim": 12},
    "mistral_window": {"model_type": "mistral", "sliding_window": 64, "rope_theta": 1e6},
    "qwen2": {"model_type": "qwen2", "rope_theta": 1e6},
    "qwen2_yarn": {"model_type": "qwen2", "tie_word_embeddings": True}
    | _v4(1e6, kind="yarn", **YARN),
    "qwen2_window": {
        "model_type": "qwen2",
        "use_sliding_window": True,
        "sliding_window": 64,
        "max_window_layers": 1,
    },
    "qwen3": {"model_type": "qwen3", "head_dim": 12, "rms_norm_eps": 1e-3},
    "qwen3_biased": {"model_type": "qwen3", "attention_bias": True, "num_key_value_heads": 1},
    "gemma3": {"model_type": "gemma3_text", "head_dim": 8, "num_hidden_layers": 7},
    "gemma3_old": {
        "model_type": "gemma3_text",
        "head_dim": 12,
        "query_pre_attn_scalar": 5,
        "attention_bias": True,
        "hidden_activation": "silu",
        "num_hidden_layers": 4,
        "rms_norm_eps": 1e-3,
        "rope_local_base_freq": 300.0,
        "sliding_window": 64,
        "sliding_window_pattern": 2,
        "tie_word_embeddings": False,
    }
    | _v4(5e5, kind="linear", factor=8.0),
    "gemma3_new": {
        "model_type": "gemma3_text",
        "head_dim": 8,
        "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 2e5},
            "sliding_attention": {"rope_type": "linear", "factor": 3.0, "rope_theta": 700.0},
        },
    },
    "gemma3_one_layer": {"model_type": "gemma3_text", "head_dim": 8, "num_hidden_layers": 1},
}
CASES |= FAMILY_CASES


def random_case(seed: int) -> dict[str, Any]:
    """Draw a llama config from everything that we accept, always the same one for a seed."""
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


def random_family_case(family: str, seed: int) -> dict[str, Any]:
    """Draw a config of another family, always the same one for a name and a seed."""
    draw = random.Random(f"{family} {seed}")
    dropped = {"hidden_act", "attention_bias", "mlp_bias"}
    case = {name: value for name, value in random_case(seed).items() if name not in dropped}
    case["model_type"] = family
    layers = case["num_hidden_layers"]
    if family in ("qwen3", "gemma3_text"):
        case["attention_bias"] = draw.random() < 0.5
    if family != "gemma3_text":
        return case | {"hidden_act": draw.choice(["silu", "gelu", "relu"])}
    old = {"rope_theta": case.pop("rope_theta", None)}
    scaling = case.pop("rope_parameters", None) or case.pop("rope_scaling") | old
    kinds = ["full_attention", "sliding_attention"]
    local = {"rope_type": "default", "rope_theta": draw.choice([100.0, 10000.0])}
    return case | {
        "rope_parameters": dict(zip(kinds, [scaling, local], strict=True)),
        "hidden_activation": draw.choice(["gelu_pytorch_tanh", "silu"]),
        "layer_types": [draw.choice(kinds) for _ in range(layers)],
        "query_pre_attn_scalar": draw.choice([4, 9, 64]),
    }


CASES |= {f"random_{seed}": random_case(seed) for seed in range(6)}
FAMILIES = ("mistral", "qwen2", "qwen3", "gemma3_text")
CASES |= {
    f"random_{family}_{seed}": random_family_case(family, seed)
    for family in FAMILIES
    for seed in range(4)
}


def torch_model(raw: dict[str, Any], seed: int = 0) -> Any:
    """Build transformers' model in float32 with weights that make every part of it matter."""
    import torch
    import transformers

    fields = json.loads(json.dumps(raw))  # transformers changes what it is given
    config = transformers.AutoConfig.for_model(**fields, attn_implementation="eager")
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if "norm" in name:
                weight.copy_(weight + 0.2 * noise)  # which transformers has set to scale by 1
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
