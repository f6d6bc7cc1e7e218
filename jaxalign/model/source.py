"""Where a model comes from: the package, a folder, or the Hugging Face hub."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from jaxalign.errors import UserError
from jaxalign.model.files import weight_files

EMBEDDED = "embedded"
EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
# Nothing that can hold code is fetched: no pickle, no Python.
FETCHED = ("*.json", "*.safetensors", "*.jinja", "tokenizer.model", "merges.txt")
NOT_FETCHED = ("*/*", "consolidated*", "*.bin", "*.py")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_WAYS_ON = (
    "give a local folder, or a hub id with a token (HF_TOKEN in the environment, the model's "
    "licence accepted on its hub page), or use the embedded model (--config=NAME:embedded)"
)
_HASHED_WHOLE = 64 * 2**20
_SAMPLE = 2**16
_SAMPLES = 256


def resolve(path: str, revision: str | None = None, files: Sequence[str] = FETCHED) -> Path:
    """Turn `model.path` into a folder on this machine, fetching from the hub only if needed.

    Args:
      path: `embedded`, an existing folder, or a hub id (`meta-llama/Meta-Llama-3-8B-Instruct`).
        The token comes from HF_TOKEN; HF_HUB_OFFLINE=1 uses the local cache alone.
      revision: branch, tag or commit of a hub id.
      files: patterns of the names that are fetched of a hub id.

    Raises:
      UserError: if there is no such model, with the three ways on.
    """
    if path != EMBEDDED and not (path and Path(path).expanduser().is_dir()):
        return _fetch(path, revision or None, files)
    if revision:
        raise UserError(
            f"model.revision is {revision!r}, but model.path={path!r} is no hub id: leave it empty"
        )
    if path != EMBEDDED:
        return Path(path).expanduser()
    if not EMBEDDED_FOLDER.is_dir():
        raise UserError(f"{EMBEDDED_FOLDER}: the embedded model is missing; install jaxalign again")
    return EMBEDDED_FOLDER


def _fetch(path: str, revision: str | None, files: Sequence[str]) -> Path:
    if not _HUB_ID.fullmatch(path):
        raise UserError(f"model.path={path!r} is not a folder: {_WAYS_ON}")
    import huggingface_hub
    from huggingface_hub import errors

    try:
        folder = huggingface_hub.snapshot_download(
            path,
            revision=revision,
            token=os.environ.get("HF_TOKEN") or False,
            allow_patterns=list(files),
            ignore_patterns=list(NOT_FETCHED),
        )
    except errors.GatedRepoError:
        reason = "the hub does not give it to this token"
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


def weights_digest(folder: Path) -> str:
    """Give a SHA-256 that identifies a folder's weights, for the record of a run.

    It covers, for each weight file in order: name, size, and the bytes. Of files above 64 MiB it
    takes the header (every tensor's name, type, shape and place) and 256 evenly spread pieces of
    64 KiB, first and last included: any retrained or converted checkpoint differs there, while an
    edit of a few single weights could pass. 16 GB take well under a second once cached.

    Raises:
      UserError: as `weight_files` does.
    """
    digest = hashlib.sha256()
    for file in weight_files(folder):
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as stream:
            if size <= _HASHED_WHOLE:
                digest.update(stream.read())
                continue
            header = int.from_bytes(stream.read(8), "little")
            digest.update(stream.read(min(header, size)))
            last = size - _SAMPLE
            for sample in range(_SAMPLES):
                stream.seek(last * sample // (_SAMPLES - 1))
                digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()
