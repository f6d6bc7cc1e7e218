"""Find and open the safetensors files of a model folder, or a GGUF file; never a pickle."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from etils import epath

from jaxalign.errors import UserError
from jaxalign.files import explain
from jaxalign.model.buckets import RangedTensors, in_bucket, let_go
from jaxalign.model.gguf import GgufTensors, is_gguf

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
NOTICE_KEY = "jaxalign_notice"


def weight_files(folder: epath.PathLike) -> list[epath.Path]:
    """List the weight files of a folder: `model.safetensors`, or the shards that its index names.

    A GGUF file is its own.

    Raises:
      UserError: naming the file that is missing or unreadable.
    """
    folder = epath.Path(folder)
    if is_gguf(folder):
        return [folder]
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    index = folder / INDEX
    if not index.is_file():
        found = sorted(path.name for path in folder.glob("*.bin")) if folder.is_dir() else []
        pickles = f" ({found[0]} is a pickle, which jaxalign never opens)" if found else ""
        raise UserError(
            f"{folder}: holds neither {SINGLE} nor {INDEX}{pickles}; save the model with "
            "save_pretrained, which writes safetensors"
        )
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{index}: cannot be read ({explain(str(index), repr(error))}); it must be JSON with a "
            "weight_map from keys to file names"
        ) from None
    outside = [name for name in names if not isinstance(name, str) or Path(name).name != name]
    if outside or not names:
        raise UserError(f"{index}: weight_map must name files of its own folder, has {outside}")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder}: {', '.join(missing)} named in {INDEX} is missing; download the model again"
        )
    return [folder / name for name in names]


@contextlib.contextmanager
def open_files(paths: Sequence[epath.PathLike]) -> Iterator[list[Any]]:
    """Open weight files for reading parts of tensors; raises UserError on a damaged file."""
    with contextlib.ExitStack() as stack:
        handles: list[Any] = []
        for path in paths:
            # That a bucket cannot be reached says nothing about its files.
            faults = (ValueError,) if in_bucket(path) else (OSError, safetensors.SafetensorError)
            try:
                if is_gguf(path):
                    handles.append(GgufTensors(path))
                elif in_bucket(path):
                    handles.append(RangedTensors(path))
                else:
                    handles.append(stack.enter_context(safetensors.safe_open(path, framework="np")))
            except faults as error:
                reason = str(error).removeprefix("Error while deserializing header: ")
                reason = explain(str(path), reason)
                size = epath.Path(path).stat().length
                raise UserError(
                    f"{path}: is damaged or cut short ({reason}, {size:,} bytes); copy or download "
                    "it again"
                ) from None
        stack.callback(let_go)
        yield handles


def to_safetensors(tensors: dict[str, np.ndarray], notice: str | None = None) -> bytes:
    """Return the content of a safetensors file; equal tensors give equal bytes.

    safetensors writes the metadata in an order that changes from call to call; here it is sorted.

    Args:
      tensors: by name.
      notice: what every output that comes from them must say; kept in the file's metadata.
    """
    metadata = {"format": "pt"} | ({NOTICE_KEY: notice} if notice else {})
    content = safetensors.numpy.save(tensors, metadata=metadata)
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[end:]
