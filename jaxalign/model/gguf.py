"""GGUF, the model files of llama.cpp: their config and their weights, dequantised as they are read.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. One file holds everything:
metadata under names of llama.cpp, the tokenizer, and tensors of which each has a type of its own.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from jaxalign.errors import UserError
from jaxalign.files import open_gguf

# By `general.architecture`: the model type of transformers. Mistral's files say llama too.
MODEL_TYPES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3": "gemma3_text"}
# From our sizes' names in config.json to what follows the architecture in the metadata.
_SIZES = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "max_position_embeddings": "context_length",
}
_GEMMA3 = {
    "sliding_window": "attention.sliding_window",
    "final_logit_softcapping": "final_logit_softcapping",
}
_ROPE_FACTORS = "rope_freqs.weight"  # of llama3's scaling, one for each pair of a head
_TOP = ("model.embed_tokens", "model.norm", "lm_head")
_LAYER = (
    *("input_layernorm", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj"),
    *("mlp.down_proj", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    *("self_attn.o_proj", "self_attn.q_norm", "self_attn.k_norm"),
    *("pre_feedforward_layernorm", "post_feedforward_layernorm"),
)


def is_gguf(path: epath.PathLike) -> bool:
    """Return whether a path names a GGUF file."""
    return Path(path).suffix.lower() == ".gguf"


def read_metadata(path: epath.PathLike) -> dict[str, Any]:
    """Return the metadata of a GGUF file but for its long lists, by llama.cpp's names."""
    fields = open_gguf(Path(path)).fields.items()
    return {name: field.contents() for name, field in fields if len(field.data) < 2}


def config_of_gguf(path: epath.PathLike) -> dict[str, Any]:
    """Return what config.json would say of the model in a GGUF file.

    Raises:
      UserError: the file is unreadable or of an architecture that is not implemented.
    """
    metadata = read_metadata(path)
    kind = metadata.get("general.architecture")
    if kind not in MODEL_TYPES:
        raise UserError(
            f"{path}: general.architecture is {kind!r}; jaxalign implements "
            f"{', '.join(MODEL_TYPES)}"
        )
    if metadata.get("split.count", 1) > 1:
        raise UserError(
            f"{path}: is one of {metadata['split.count']} parts; merge them with "
            "llama-gguf-split --merge"
        )
    tensors = {tensor.name: tensor for tensor in open_gguf(Path(path)).tensors}
    own = {
        name.removeprefix(f"{kind}."): value
        for name, value in metadata.items()
        if name.startswith(f"{kind}.")
    }
    config = {name: own[key] for name, key in _SIZES.items() if key in own}
    missing = [f"{kind}.{key}" for name, key in _SIZES.items() if name not in config]
    missing = [name for name in missing if not name.endswith("head_count_kv")]
    if own.get("expert_count"):
        raise UserError(f"{path}: {kind}.expert_count={own['expert_count']} is not implemented")
    if missing or "token_embd.weight" not in tensors:
        raise UserError(f"{path}: lacks {', '.join(missing) or 'token_embd.weight'}")
    head_dim = own.get("attention.key_length", own.get("rope.dimension_count"))
    if own.get("rope.dimension_count", head_dim) != head_dim:
        raise UserError(f"{path}: {kind}.rope.dimension_count is not the width of a head")
    if kind != "qwen2":  # which always has biases, and no key for them
        config["attention_bias"] = "blk.0.attn_q.bias" in tensors
    if kind == "llama":
        config["mlp_bias"] = "blk.0.ffn_up.bias" in tensors
    if head_dim is not None:
        config["head_dim"] = head_dim
    rope = _rope(path, own, tensors.get(_ROPE_FACTORS))
    if kind == "gemma3":
        config |= {name: own[key] for name, key in _GEMMA3.items() if key in own}
        # No key says so: llama.cpp tells Gemma 3 27B, the one whose scalar is not the width of a
        # head, by its layers.
        is_27b = config["num_hidden_layers"] == 62
        config["query_pre_attn_scalar"] = 168 if is_27b else head_dim
        local = {"rope_theta": own.get("rope.freq_base_swa", 10000.0)}
        rope = {"full_attention": rope, "sliding_attention": local}
    return config | {
        "model_type": MODEL_TYPES[kind],
        "vocab_size": int(tensors["token_embd.weight"].shape[1]),
        "tie_word_embeddings": "output.weight" not in tensors,
        "eos_token_id": metadata.get("tokenizer.ggml.eos_token_id"),
        "rope_parameters": rope,
    }


def _rope(path: epath.PathLike, own: dict[str, Any], factors: Any) -> dict[str, Any]:
    """Return rope_parameters; of llama3's scaling a file has only the factors that come of it."""
    rope = {"rope_type": "default", "rope_theta": own.get("rope.freq_base", 10000.0)}
    kind = own.get("rope.scaling.type", "none")
    if kind not in ("none", "linear"):
        raise UserError(f"{path}: rope.scaling.type={kind!r} is not implemented")
    if kind == "linear":
        rope |= {"rope_type": "linear", "factor": own.get("rope.scaling.factor")}
    if factors is None:
        return rope
    # The values of every Llama 3.1, 3.2 and 3.3; the largest factor is the scaling's own.
    llama3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scale, original = float(np.max(factors.data)), 8192
    pairs = np.arange(len(factors.data)) / len(factors.data)
    turns = original * rope["rope_theta"] ** -pairs / (2 * np.pi)
    share = np.clip((turns - 1.0) / (4.0 - 1.0), 0, 1)
    if not np.allclose(factors.data, 1 / ((1 - share) / scale + share), rtol=1e-3):
        raise UserError(f"{path}: {_ROPE_FACTORS} are not the factors of Llama 3")
    original_length = {"original_max_position_embeddings": original}
    return rope | {"rope_type": "llama3", "factor": scale} | llama3 | original_length


class GgufTensors:
    """A GGUF file as `safetensors.safe_open` would show it, under transformers' names."""

    def __init__(self, path: epath.PathLike):
        import gguf

        config = config_of_gguf(path)
        layers = config["num_hidden_layers"]
        kind = read_metadata(path)["general.architecture"]
        arch = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == kind)
        names = gguf.get_tensor_name_map(arch, layers)
        stems = [*_TOP, *(f"model.layers.{n}.{stem}" for n in range(layers) for stem in _LAYER)]
        ours = {
            f"{names.get_name(stem)}.{end}": f"{stem}.{end}"
            for stem in stems
            for end in ("weight", "bias")
        }
        heads = {}
        if kind == "llama":  # the only one whose rows llama.cpp reorders
            heads = {"q_proj": config["num_attention_heads"]}
            heads["k_proj"] = config.get("num_key_value_heads", heads["q_proj"])
        self._tensors = {
            name: GgufTensor(
                tensor,
                heads=heads.get(name.split(".")[-2], 0),
                offset=1.0 if kind == "gemma3" and name.endswith("norm.weight") else 0.0,
            )
            for tensor in open_gguf(Path(path)).tensors
            if tensor.name != _ROPE_FACTORS
            for name in [ours.get(tensor.name, tensor.name)]
        }

    def keys(self) -> list[str]:
        """Return the names of the tensors."""
        return list(self._tensors)

    def metadata(self) -> None:
        """Return no metadata: a file of llama.cpp has none of ours."""

    def get_slice(self, key: str) -> "GgufTensor":
        """Return a tensor, unread."""
        return self._tensors[key]


class GgufTensor:
    """A tensor of which any rows can be read, dequantised to float32.

    Args:
      tensor: of `gguf.GGUFReader`.
      heads: above 0, llama.cpp has put the two halves of each head's rows in turn, for its own
        rotary embedding: they are read in transformers' order.
      offset: what llama.cpp has added to the values.
    """

    def __init__(self, tensor: Any, heads: int = 0, offset: float = 0.0):
        self._tensor, self._offset = tensor, offset
        rows = np.arange(tensor.data.shape[0])
        self._rows = rows.reshape(heads, -1, 2).swapaxes(1, 2).reshape(-1) if heads else rows

    def get_shape(self) -> list[int]:
        """Its shape."""
        return [int(size) for size in reversed(self._tensor.shape)]

    def get_dtype(self) -> str:
        """Return the type that it is read as, or its own if it cannot be read."""
        kind = self._tensor.tensor_type
        return "F32" if _is_readable(kind) else str(kind.name)

    def __getitem__(self, index: Any) -> np.ndarray:
        import gguf

        first, *others = index if isinstance(index, tuple) else (index,)
        rows = gguf.dequantize(self._tensor.data[self._rows[first]], self._tensor.tensor_type)
        return rows[(slice(None), *others)] - np.float32(self._offset)


@functools.cache
def _is_readable(kind: Any) -> bool:
    import gguf

    size = gguf.GGML_QUANT_SIZES[kind][1]
    try:
        gguf.dequantize(np.zeros((1, size), np.uint8), kind)
    except NotImplementedError:
        return False
    return True
