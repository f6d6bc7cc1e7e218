"""The frozen language model: its config, where its weights come from, and its forward pass."""

from jaxalign.model.abstract import (
    abstract_model,
    parameter_bytes,
    parameter_count,
    random_model,
)
from jaxalign.model.architecture import DecoderConfig
from jaxalign.model.attention import AUTO, IMPLEMENTATIONS, attend, check_attention
from jaxalign.model.block import Frozen
from jaxalign.model.buckets import TEXTS, in_bucket, on_disk
from jaxalign.model.decoder import Decoder, Shared, input_embeddings
from jaxalign.model.directions import first_layer_gram
from jaxalign.model.files import to_safetensors
from jaxalign.model.generation import NOTHING, Written, generate
from jaxalign.model.hf_config import parse_config, read_config, to_hf
from jaxalign.model.hf_generation import read_stop_ids
from jaxalign.model.hf_rope import RopeConfig
from jaxalign.model.partition import sharding_over, split_sizes
from jaxalign.model.quantization import MODES, NO_QUANTIZATION, quantize
from jaxalign.model.source import EMBEDDED, resolve, weights_digest
from jaxalign.model.tree import Tree, cut_tree, widen_tree
from jaxalign.model.vocabulary import Vocabulary, read_vocabulary
from jaxalign.model.weights import load_model, read_embeddings, read_notice, save_model

__all__ = [
    "AUTO",
    "EMBEDDED",
    "IMPLEMENTATIONS",
    "MODES",
    "NOTHING",
    "NO_QUANTIZATION",
    "TEXTS",
    "Decoder",
    "DecoderConfig",
    "Frozen",
    "RopeConfig",
    "Shared",
    "Tree",
    "Vocabulary",
    "Written",
    "abstract_model",
    "attend",
    "check_attention",
    "cut_tree",
    "first_layer_gram",
    "generate",
    "in_bucket",
    "input_embeddings",
    "load_model",
    "on_disk",
    "parameter_bytes",
    "parameter_count",
    "parse_config",
    "quantize",
    "random_model",
    "read_config",
    "read_embeddings",
    "read_notice",
    "read_stop_ids",
    "read_vocabulary",
    "resolve",
    "save_model",
    "sharding_over",
    "split_sizes",
    "to_hf",
    "to_safetensors",
    "weights_digest",
    "widen_tree",
]
