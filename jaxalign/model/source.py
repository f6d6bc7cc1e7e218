"""Where a model comes from: the package, a folder or file, a bucket, or the Hugging Face hub."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from etils import epath

from jaxalign.errors import UserError
from jaxalign.files import open_gguf
from jaxalign.model.buckets import TEXTS, find_bucket_folder, in_bucket, read_ranges
from jaxalign.model.files import weight_files
from jaxalign.model.gguf import is_gguf
from jaxalign.settings import EMBEDDED

EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
# Nothing that can hold code is fetched: no pickle, no Python.
FETCHED = (*TEXTS, "*.safetensors")
NOT_FETCHED = ("*/*", "consolidated*", "*.bin", "*.py")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_WAYS_ON = (
    "give a local folder, one in a bucket (gs://…), a .gguf file, or a hub id with a token (`hf "
    "auth login` or HF_TOKEN, the model's licence accepted on its page), or the embedded model "
    "(--config=NAME:embedded)"
)
_HASHED_WHOLE = 64 * 2**20
_SAMPLE = 2**16
_SAMPLES = 256


def resolve(
    path: str, revision: str | None = None, files: Sequence[str] = FETCHED
) -> Path | epath.Path:
    """Turn `model.path` into a folder or file that can be read, fetching it only if needed.

    Args:
      path: `embedded`, a folder that is here or in a bucket (`gs://BUCKET/FOLDER`, with gcsfs), a
        GGUF file that is here, or a hub id (`meta-llama/Meta-Llama-3-8B-Instruct`). The hub's token
        is that of HF_TOKEN or of `hf auth login`, and HF_HUB_OFFLINE=1 uses the local cache alone.
      revision: branch, tag or commit of a hub id.
      files: patterns of the names that are fetched of a hub id.

    Raises:
      UserError: if there is no such model, with the three ways on.
    """
    local = path == EMBEDDED or is_here(path)
    if not local and not in_bucket(path):
        return _fetch(path, revision or None, files)
    if revision:
        raise UserError(
            f"model.revision is {revision!r}, but model.path={path!r} is no hub id: leave it empty"
        )
    if in_bucket(path):
        return find_bucket_folder(path)
    if path != EMBEDDED:
        return Path(os.path.expanduser(path))
    if not EMBEDDED_FOLDER.is_dir():
        raise UserError(f"{EMBEDDED_FOLDER}: the embedded model is missing; install jaxalign again")
    return EMBEDDED_FOLDER


def is_here(path: str) -> bool:
    """Return whether a path is a folder or a GGUF file of this machine."""
    here = Path(os.path.expanduser(path))  # unlike Path's, leaves an unknown ~user alone
    return bool(path) and (here.is_dir() or (is_gguf(here) and here.is_file()))


def _fetch(path: str, revision: str | None, files: Sequence[str]) -> Path:
    if is_gguf(path):
        raise UserError(f"model.path={path!r}: there is no such file")
    if not _HUB_ID.fullmatch(path):
        raise UserError(f"model.path={path!r} is not a folder: {_WAYS_ON}")
    import huggingface_hub
    from huggingface_hub import errors

    try:
        folder = huggingface_hub.snapshot_download(
            path,
            revision=revision,
            allow_patterns=list(files),
            ignore_patterns=list(NOT_FETCHED),
        )
    except errors.GatedRepoError:
        page = f"{huggingface_hub.constants.ENDPOINT}/{path}"
        raise UserError(
            f"model.path={path!r} is a gated model and your token has no access: accept its "
            f"licence at {page}, then `hf auth login` or set HF_TOKEN"
        ) from None
    except errors.RepositoryNotFoundError:
        reason = "is neither a folder here nor a model on the hub that this token may see"
    except errors.RevisionNotFoundError:
        reason = f"the hub has no model.revision={revision!r} of it"
    except errors.LocalEntryNotFoundError:
        reason = "is not a folder, and it is not in the hub's local cache and the hub is offline"
    except (errors.HFValidationError, errors.HfHubHTTPError, OSError) as error:
        reason = f"could not be fetched ({' '.join(str(error).split())[:200]})"
    else:
        return Path(folder)
    raise UserError(f"model.path={path!r} {reason}: {_WAYS_ON}")


def weights_digest(folder: epath.PathLike) -> str:
    """Return a SHA-256 that identifies a folder's weights, for the record of a run.

    It covers, for each weight file in order: name, size, and the bytes. Of files above 64 MiB it
    takes the header (every tensor's name, type, shape and place) and 256 evenly spread pieces of
    64 KiB, first and last included: any retrained or converted checkpoint differs there, while an
    edit of a few single weights could pass. 16 GB take well under a second once cached.

    Raises:
      UserError: as `weight_files` does.
    """
    digest = hashlib.sha256()
    for file in weight_files(folder):
        size = file.stat().length
        digest.update(f"{file.name}\0{size}\0".encode())
        spans = [(0, size)]
        if size > _HASHED_WHOLE:
            header = int.from_bytes(read_ranges(file, [(0, 8)])[0], "little")
            if is_gguf(file):
                header = int(open_gguf(Path(file)).data_offset)
            places = [(size - _SAMPLE) * sample // (_SAMPLES - 1) for sample in range(_SAMPLES)]
            spans = [(8, 8 + min(header, size)), *((at, at + _SAMPLE) for at in places)]
        for part in read_ranges(file, spans):
            digest.update(part)
    return digest.hexdigest()
