"""Hugging Face safetensors to params and back, from one table of names."""

import gc
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath
from flax import nnx

from jaxalign.errors import UserError
from jaxalign.model.abstract import Sharding, abstract_model, as_dtype, named_leaves, with_leaves
from jaxalign.model.architecture import LLAMA, DecoderConfig, Family
from jaxalign.model.decoder import input_embeddings
from jaxalign.model.files import NOTICE_KEY, SINGLE, open_files, to_safetensors, weight_files
from jaxalign.model.hf_config import read_config, to_hf

TOP_KEYS = {
    "embedding": "model.embed_tokens.weight",
    "norm": "model.norm.weight",
    "head": "lm_head.weight",
}
LAYER_KEYS = {
    "attention_norm": "input_layernorm.weight",
    "query": "self_attn.q_proj.weight",
    "key": "self_attn.k_proj.weight",
    "value": "self_attn.v_proj.weight",
    "output": "self_attn.o_proj.weight",
    "query_bias": "self_attn.q_proj.bias",
    "key_bias": "self_attn.k_proj.bias",
    "value_bias": "self_attn.v_proj.bias",
    "output_bias": "self_attn.o_proj.bias",
    "mlp_norm": "post_attention_layernorm.weight",
    "gate": "mlp.gate_proj.weight",
    "up": "mlp.up_proj.weight",
    "down": "mlp.down_proj.weight",
    "gate_bias": "mlp.gate_proj.bias",
    "up_bias": "mlp.up_proj.bias",
    "down_bias": "mlp.down_proj.bias",
    "query_norm": "self_attn.q_norm.weight",
    "key_norm": "self_attn.k_norm.weight",
}
# Where attention's output has a norm of its own, that one takes the name which the feed-forward's
# has elsewhere.
_SANDWICH_KEYS = LAYER_KEYS | {
    "attention_output_norm": "post_attention_layernorm.weight",
    "mlp_norm": "pre_feedforward_layernorm.weight",
    "mlp_output_norm": "post_feedforward_layernorm.weight",
}
# Buffers that old checkpoints stored; they follow from the config.
_SKIPPED = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")
_READABLE = ("F32", "F16", "BF16")
_FAULTS_SHOWN = 12
_ROWS = 8192  # of an unstacked tensor that are converted at a time


def source_keys(name: str, layers: int, family: Family = LLAMA) -> list[str]:
    """Return the checkpoint's keys that fill one leaf: one per layer for those of the block."""
    if name in TOP_KEYS:
        return [TOP_KEYS[name]]
    tails = _SANDWICH_KEYS if family.sandwich_norms else LAYER_KEYS
    tail = tails[name.removeprefix("block.")]
    return [f"model.layers.{layer}.{tail}" for layer in range(layers)]


def load_model(
    folder: epath.PathLike, dtype: Any, sharding: Sharding | None = None
) -> tuple[nnx.GraphDef, nnx.State, DecoderConfig]:
    """Read a model folder's config and weights, each weight straight to its device and type.

    Args:
      folder: holds config.json and model.safetensors, or shards with their index.
      dtype: float32 or bfloat16, to which every weight is converted.
      sharding: gives the sharding of a leaf from its name (`embedding`, `block.query`, ...) and
        shape; only each device's part is read. By default everything goes to the default device.

    Returns:
      `(graphdef, params, config)`.

    Raises:
      UserError: naming the file and everything wrong in it.
    """
    config = read_config(folder)
    with open_files(weight_files(folder)) as handles:
        tensors, faults = _table(handles)
        if faults:
            raise UserError(f"{folder}: " + "; ".join(faults[:_FAULTS_SHOWN]))
        return *fill_model(str(folder), tensors, config, dtype, sharding), config


def fill_model(
    source: str,
    tensors: Mapping[str, Any],
    config: DecoderConfig,
    dtype: Any,
    sharding: Sharding | None = None,
) -> tuple[nnx.GraphDef, nnx.State]:
    """Make a model of tensors under transformers' names.

    Args:
      source: what the tensors come from, for messages.
      tensors: by name; each has `get_shape()`, `get_dtype()` (`F32`, `F16` or `BF16`) and gives
        NumPy arrays by slices, as those of safetensors do. They are read one after the other.
      config: the architecture.
      dtype: float32 or bfloat16, to which every weight is converted.
      sharding: as `load_model` takes it.

    Raises:
      UserError: naming everything wrong in the tensors.
    """
    dtype = as_dtype(dtype)
    graphdef, abstract = abstract_model(config, dtype)
    single = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    place = sharding or (lambda name, shape: single)
    if faults := _faults(tensors, named_leaves(abstract), config):
        more = f"; and {len(faults) - _FAULTS_SHOWN} more" * (len(faults) > _FAULTS_SHOWN)
        raise UserError(f"{source}: " + "; ".join(faults[:_FAULTS_SHOWN]) + more)
    leaves = {
        name: _read(
            [tensors[key] for key in source_keys(name, config.layers, config.family)],
            jax.ShapeDtypeStruct(leaf.shape, dtype, sharding=place(name, leaf.shape)),
            stacked=name not in TOP_KEYS,
        )
        for name, leaf in named_leaves(abstract).items()
    }
    return graphdef, with_leaves(abstract, leaves)


def read_embeddings(folder: epath.PathLike, tokens: Sequence[int]) -> np.ndarray:
    """Read the input embeddings of N tokens, float32 [N, D], and nothing else of the weights.

    Raises:
      UserError: the files cannot be read, hold no embeddings, or have no such token.
    """
    config, key = read_config(folder), TOP_KEYS["embedding"]
    with open_files(weight_files(folder)) as handles:
        for handle in handles:
            if key in handle.keys():
                table_VD = handle.get_slice(key)
                size = table_VD.get_shape()[0]
                if max(tokens) >= size:
                    raise UserError(f"{folder}: {key} has {size} rows and no token {max(tokens)}")
                rows = {token: table_VD[token : token + 1] for token in set(tokens)}
                rows_ND = np.concatenate([rows[token] for token in tokens])
                return np.asarray(input_embeddings(rows_ND, config), np.float32)
    raise UserError(f"{folder}: {key} is missing; download the model again")


def _table(handles: list[Any]) -> tuple[dict[str, Any], list[str]]:
    """Return all tensors of all files as unread slices, and the keys that occur twice."""
    tensors: dict[str, Any] = {}
    faults = []
    for handle in handles:
        for key in handle.keys():
            if key in tensors:
                faults.append(f"{key} is stored twice")
            tensors[key] = handle.get_slice(key)
    return tensors, faults


def _faults(tensors: Mapping[str, Any], leaves: dict[str, Any], config: DecoderConfig) -> list[str]:
    """Everything that keeps the tensors from filling every leaf exactly once."""
    faults = []
    wanted: dict[str, tuple[int, ...]] = {}
    for name, leaf in leaves.items():
        shape = leaf.shape if name in TOP_KEYS else leaf.shape[1:]
        wanted |= {key: shape for key in source_keys(name, config.layers, config.family)}
    if not wanted.keys() & tensors.keys():
        return [_other_names(tensors)]
    for key, shape in wanted.items():
        if key not in tensors:
            faults.append(f"{key} is missing")
            continue
        found = tuple(tensors[key].get_shape())
        if found != shape:
            faults.append(f"{key} has shape {list(found)}, must be {list(shape)}")
        if tensors[key].get_dtype() not in _READABLE:
            faults.append(
                f"{key} has type {tensors[key].get_dtype()}, must be one of {', '.join(_READABLE)}"
            )
    for key in tensors:
        if key == TOP_KEYS["head"] and config.tied:
            if TOP_KEYS["embedding"] in tensors and not _same(tensors):
                faults.append(
                    f"{key} differs from {TOP_KEYS['embedding']}, but tie_word_embeddings is true "
                    "in config.json: set it to false"
                )
        elif key not in wanted and not _SKIPPED.fullmatch(key):
            faults.append(f"{key} is unexpected")
    return faults


def _other_names(tensors: Mapping[str, Any]) -> str:
    """Say what a file holds of which no tensor has a name that is wanted."""
    first, wanted = next(iter(tensors), ""), TOP_KEYS["embedding"]
    ends = [key for key in tensors if wanted.endswith(f".{key}") or key.endswith(f".{wanted}")]
    if not ends:
        named = f"names like {first!r}" if tensors else "no tensors"
        return f"has {named}, and none like {wanted!r}: it is of no model that is implemented"
    missing = len(ends[0]) < len(wanted)
    prefix = wanted.removesuffix(ends[0]) if missing else ends[0].removesuffix(wanted)
    return (
        f"its names {'lack' if missing else 'begin with'} {prefix!r}, as in {ends[0]!r}: it was "
        "saved from a part or a wrapper of the model; save the causal language model itself with "
        "save_pretrained"
    )


def _same(tensors: Mapping[str, Any]) -> bool:
    """Return whether the stored head equals the embedding, compared a few rows at a time."""
    head, embedding = tensors[TOP_KEYS["head"]], tensors[TOP_KEYS["embedding"]]
    if head.get_shape() != embedding.get_shape():
        return False
    count = head.get_shape()[0]
    parts = [slice(start, min(start + _ROWS, count)) for start in range(0, count, _ROWS)]
    return all(np.array_equal(head[part], embedding[part]) for part in parts)


def _read(slices: list[Any], leaf: jax.ShapeDtypeStruct, stacked: bool) -> jax.Array:
    """Fill one leaf, each device's part from its own part of the files.

    Devices with the same part share one copy on the host, and the next leaf waits until this one
    is on the devices: the host never holds more than one leaf's parts.
    """
    indices = leaf.sharding.addressable_devices_indices_map(leaf.shape).values()
    wanted = {_spans(index, leaf.shape): index for index in indices}
    parts = {
        spans: np.empty([stop - start for start, stop in spans], leaf.dtype)
        for spans in sorted(wanted)
    }
    # For all devices at once, so that rows of which each takes some columns are read once.
    if stacked:
        for layer, source in enumerate(slices):
            for spans, part in parts.items():
                start, stop = spans[0]
                if start <= layer < stop:
                    part[layer - start] = source[wanted[spans][1:]]
    else:
        for first in range(0, leaf.shape[0], _ROWS):
            for spans, part in parts.items():
                start, stop = spans[0]
                rows = slice(max(first, start), min(first + _ROWS, stop))
                if rows.start < rows.stop:
                    place = slice(rows.start - start, rows.stop - start)
                    part[place] = slices[0][(rows, *wanted[spans][1:])]
    array = jax.make_array_from_callback(
        leaf.shape, leaf.sharding, lambda index: parts[_spans(index, leaf.shape)]
    )
    jax.block_until_ready(array)
    gc.collect(0)  # JAX lets go of what it has copied when Python collects
    return array


def _spans(index: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Return where a part begins and ends in each dimension."""
    ends = (where.indices(size) for where, size in zip(index, shape, strict=True))
    return tuple((start, stop) for start, stop, _ in ends)


def save_model(
    folder: Path,
    params: nnx.State,
    config: DecoderConfig,
    extra: Mapping[str, Any] | None = None,
    notice: str | None = None,
) -> None:
    """Write config.json and model.safetensors as transformers reads them, in the params' type.

    Args:
      folder: made if it is not there; the two files are replaced whole.
      params: as `load_model` gives them, on one host.
      config: their architecture.
      extra: further fields of config.json, such as `bos_token_id`.
      notice: what every output of the model must say; travels in the metadata of the weights.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, np.ndarray] = {}
    for name, leaf in named_leaves(params).items():
        rows = np.asarray(leaf)[None] if name in TOP_KEYS else np.asarray(leaf)
        keys = source_keys(name, config.layers, config.family)
        tensors |= {key: np.ascontiguousarray(row) for key, row in zip(keys, rows, strict=True)}
    dtype = next(iter(tensors.values())).dtype.name
    partial = folder / f"{SINGLE}.partial"
    partial.write_bytes(to_safetensors(tensors, notice))
    os.replace(partial, folder / SINGLE)
    text = json.dumps(to_hf(config) | {"dtype": dtype} | dict(extra or {}), indent=2) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")


def read_notice(folder: epath.PathLike) -> str | None:
    """Return what every output of the model must say, from the metadata of its weights, or None."""
    with open_files(weight_files(folder)[:1]) as handles:
        return (handles[0].metadata() or {}).get(NOTICE_KEY)
