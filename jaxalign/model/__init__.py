"""The frozen language model: its config, where its weights come from, and its forward pass."""

from jaxalign.model.abstract import (
    abstract_model,
    parameter_bytes,
    parameter_count,
    random_model,
)
from jaxalign.model.attention import AUTO, IMPLEMENTATIONS, attend
from jaxalign.model.files import to_safetensors
from jaxalign.model.hf_config import LlamaConfig, RopeConfig, parse_config, read_config, to_hf
from jaxalign.model.llama import Frozen, Llama, Shared
from jaxalign.model.partition import sharding_over, split_sizes
from jaxalign.model.quantization import MODES, NO_QUANTIZATION, quantize
from jaxalign.model.source import EMBEDDED, resolve, weights_digest
from jaxalign.model.tree import Tree, cut_tree
from jaxalign.model.weights import load_model, read_notice, save_model

__all__ = [
    "AUTO",
    "EMBEDDED",
    "IMPLEMENTATIONS",
    "MODES",
    "NO_QUANTIZATION",
    "Frozen",
    "Llama",
    "LlamaConfig",
    "RopeConfig",
    "Shared",
    "Tree",
    "abstract_model",
    "attend",
    "cut_tree",
    "load_model",
    "parameter_bytes",
    "parameter_count",
    "parse_config",
    "quantize",
    "random_model",
    "read_config",
    "read_notice",
    "resolve",
    "save_model",
    "sharding_over",
    "split_sizes",
    "to_hf",
    "to_safetensors",
    "weights_digest",
]
