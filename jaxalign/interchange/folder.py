"""An export's folder: written whole or not at all, and only ever over an earlier export."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from jaxalign.errors import UserError
from jaxalign.files import local_path

MARKER = "jaxalign_export.json"  # the SHA-256 of every other file, by name


def write_export(output: Path, files: Iterable[tuple[str, bytes]]) -> list[str]:
    """Write files into a folder beside the output, and rename it when all are written.

    The same files again change nothing.

    Args:
      output: missing, empty, or as an earlier export left it, which is then replaced.
      files: name in the folder, which may lie deeper, and content.

    Returns:
      The names.

    Raises:
      UserError: the output holds anything else, or cannot be written.
    """
    output = local_path(str(output), "--output").resolve()
    before = _earlier(output)
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    digests = {}
    try:
        for name, content in files:
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            digests[name] = hashlib.sha256(content).hexdigest()
        if digests != before:
            text = json.dumps({"sha256": digests}, indent=2) + "\n"
            (temporary / MARKER).write_text(text, encoding="utf-8")
            _replace(output, temporary)
    except OSError as error:
        raise UserError(f"--output={output}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return list(digests)


def _replace(output: Path, new: Path) -> None:
    """Replace a folder by another; the old one is restored if that fails."""
    old = output.with_name(f".{output.name}.{os.getpid()}.old")
    with contextlib.suppress(FileNotFoundError):
        output.rename(old)
    try:
        new.rename(output)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            old.rename(output)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _earlier(output: Path) -> dict[str, str]:
    """Name and digest of the files that an earlier export left; none where nothing is there.

    Raises:
      UserError: there is anything that no export wrote, or that was changed since.
    """
    other = "give another --output, or move it away"
    try:
        if not output.exists() or (output.is_dir() and not any(output.iterdir())):
            return {}
        if not (output / MARKER).is_file():
            raise UserError(f"--output={output}: is there and is no earlier export; {other}")
        wanted = json.loads((output / MARKER).read_text(encoding="utf-8"))["sha256"]
        found = {
            path.relative_to(output).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(output.rglob("*"))
            if path.is_file() and path != output / MARKER
        }
        changed = sorted(name for name, digest in found.items() if wanted.get(name) != digest)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"--output={output}: cannot be read ({error}); {other}") from error
    if changed:
        raise UserError(
            f"--output={output}: {', '.join(changed[:3])} was added or changed since the export "
            f"that it holds; {other}"
        )
    return found
