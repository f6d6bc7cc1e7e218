"""Model folders in an object store: small files are copied, weights are read where they lie."""

import contextlib
import functools
import itertools
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from etils import epath

from jaxalign.errors import UserError

SCHEME = "gs://"
TEXTS = ("*.json", "*.jinja", "tokenizer.model", "merges.txt")  # what belongs to a model's weights
_REQUEST = 4 * 2**20  # bytes of one request
_AT_ONCE = 32  # requests side by side
_TYPES: dict[str, Any] = {"F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16}


def in_bucket(path: epath.PathLike) -> bool:
    """Return whether a path leads into an object store."""
    return str(path).startswith(SCHEME)


def find_bucket_folder(path: str) -> epath.Path:
    """Return the folder of a bucket that `model.path` names, once its config.json has been seen.

    Raises:
      UserError: gcsfs is missing, the store does not let this machine in, or nothing is there.
    """
    folder = epath.Path(path)
    try:
        found = (folder / "config.json").exists()
    except ImportError:
        raise UserError(
            f"model.path={path!r} needs gcsfs: pip install 'jaxalign[gcs]', or mount the bucket"
        ) from None
    except Exception as error:  # gcsfs, aiohttp and google.auth each have their own
        if _may_pass(error):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(
            f"model.path={path!r} cannot be read ({reason}); `gcloud auth application-default "
            "login` lets this machine in"
        ) from None
    if not found:
        raise UserError(f"model.path={path!r} holds no config.json: give the folder that does")
    return folder


def _may_pass(error: Exception) -> bool:
    """Return whether an error comes from the network, so that a retry may help."""
    import aiohttp  # which gcsfs brings

    of_network = (ConnectionError, TimeoutError, aiohttp.ClientConnectionError)
    return isinstance(error, of_network) or str(getattr(error, "code", "")).startswith("5")


@contextlib.contextmanager
def on_disk(folder: epath.PathLike) -> Iterator[Path]:
    """Give a folder that libraries can open: itself, or for a while a copy without its weights."""
    if not in_bucket(folder):
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="jaxalign-") as copy:
        for pattern in TEXTS:
            for file in epath.Path(folder).glob(pattern):
                Path(copy, file.name).write_bytes(file.read_bytes())
        yield Path(copy)


def read_ranges(file: epath.PathLike, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """Read bytes start to stop of a file, for each span; of a bucket's file all side by side."""
    if in_bucket(file):
        import fsspec  # what epath reads with, which has no call for this

        store, key = fsspec.url_to_fs(str(file))
        starts, stops = map(list, zip(*spans, strict=True))
        parts: list[bytes] = store.cat_ranges([key] * len(spans), starts, stops, on_error="raise")
        return parts
    with Path(file).open("rb") as stream:
        parts = []
        for start, stop in spans:
            stream.seek(start)
            parts.append(stream.read(stop - start))
        return parts


class RangedTensors:
    """A safetensors file read in ranges: what is used of `safetensors.safe_open`.

    Args:
      file: of any place.

    Raises:
      ValueError: the file is no safetensors, or is cut short.
    """

    def __init__(self, file: epath.PathLike):
        size = epath.Path(file).stat().length
        length = int.from_bytes(read_ranges(file, [(0, min(8, size))])[0], "little")
        self._begin = 8 + length
        if not 2 <= length <= size - 8:
            raise ValueError("its header does not fit")
        header = json.loads(read_ranges(file, [(8, self._begin)])[0])
        try:
            self._metadata, self._file = header.pop("__metadata__", None), file
            self._entries: dict[str, Any] = header
            end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("its header is no table of tensors") from error
        if self._begin + end != size:
            raise ValueError(f"its header asks for {self._begin + end:,} bytes")

    def keys(self) -> list[str]:
        """Return the names of the tensors."""
        return list(self._entries)

    def metadata(self) -> dict[str, str] | None:
        """Return the metadata."""
        return self._metadata

    def get_slice(self, key: str) -> "RangedTensor":
        """Return a tensor, unread."""
        return RangedTensor(self._file, self._begin, self._entries[key])


class RangedTensor:
    """A tensor in a file, of which any block can be read.

    Whole rows are what is fetched. The last ones stay in memory, so that blocks of columns of the
    same rows, one after another, cost their bytes once.
    """

    def __init__(self, file: epath.PathLike, begin: int, entry: dict[str, Any]):
        self._file, self._begin, self._entry = file, begin + entry["data_offsets"][0], entry

    def get_shape(self) -> list[int]:
        """Its shape."""
        return list(self._entry["shape"])

    def get_dtype(self) -> str:
        """Its type as safetensors names it."""
        return str(self._entry["dtype"])

    def __getitem__(self, index: slice | tuple[slice, ...]) -> np.ndarray:
        """Give a block, by slices without a step for the first dimensions or all; not to change."""
        rows, *columns = index if isinstance(index, tuple) else (index,)
        (count, *shape), dtype = self.get_shape(), np.dtype(_TYPES[self.get_dtype()])
        first, end, _ = rows.indices(count)
        width = math.prod(shape) * dtype.itemsize  # of a row, in bytes
        start, stop = self._begin + width * first, self._begin + width * end
        block = np.frombuffer(_fetch(str(self._file), start, stop), dtype).reshape(-1, *shape)
        return block[:, *columns]


@functools.lru_cache(maxsize=1)
def _fetch(file: str, start: int, stop: int) -> bytearray:
    """Return bytes of a file; 128 MiB at most are on their way beside what has come."""
    content = bytearray(stop - start)
    for first in range(start, stop, _REQUEST * _AT_ONCE):
        edges = [*range(first, min(first + _REQUEST * _AT_ONCE, stop), _REQUEST)]
        edges.append(min(edges[-1] + _REQUEST, stop))
        at = first - start
        for part in read_ranges(file, list(itertools.pairwise(edges))):
            content[at : at + len(part)] = part
            at += len(part)
    return content


def let_go() -> None:
    """Frees the rows that were read last."""
    _fetch.cache_clear()
