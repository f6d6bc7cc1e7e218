"""Compiled programs, kept on disk for the next process by JAX's persistent compilation cache."""

import logging
import os
import tempfile
import warnings
from pathlib import Path

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from jaxalign.errors import UserError

LIMIT = 2 * 2**30  # bytes; a run of the embedded model leaves under 1 MB
_LOG = logging.getLogger(__name__)
_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
_THRESHOLD = "jax_persistent_cache_min_compile_time_secs"


def use(folder: str | None) -> None:
    """Reuse what earlier processes have compiled, and keep what this one compiles.

    What was compiled before is not kept. A program is looked up by its own text, its
    options, the versions of JAX and XLA, and the device, so a change in any of them compiles again.

    Args:
      folder: made if it is missing; empty for none. None takes that of JAX_COMPILATION_CACHE_DIR,
        where that is set, or else `default_folder()`, without which it warns and continues.

    Raises:
      UserError: the folder was named, and cannot be made or written.
    """
    if not jax.config.jax_enable_compilation_cache:
        return
    named = os.environ.get(_VARIABLE) if folder is None else folder
    if named is not None and (not named or "://" in named):  # a bucket is JAX's own matter
        _set(named or None)
        return
    try:
        path = default_folder() if named is None else Path(os.path.expanduser(named))
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
        if folder is not None or named is None:  # the variable's may be shared with other programs
            _prune(path, LIMIT)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if named is None:
            _LOG.warning(
                "compiled programs are not kept: the user's cache cannot be written (%s); "
                "--compile_cache=DIR names a folder, an empty DIR silences this",
                reason,
            )
            return
        name = _VARIABLE if folder is None else "--compile_cache"
        raise UserError(
            f"{name}={named}: cannot write there ({reason}); give another, or an empty one to "
            "compile each time"
        ) from error
    _set(str(path.absolute()))
    if _THRESHOLD.upper() not in os.environ:
        # Everything: the two dozen small programs of a start take about half a second together.
        jax.config.update(_THRESHOLD, 0.0)
    # JAX writes in place, so a kill may leave part of a file: it is compiled again.
    warnings.filterwarnings("ignore", "Error reading persistent compilation cache", UserWarning)


def _set(folder: str | None) -> None:
    jax.config.update("jax_compilation_cache_dir", folder)
    # JAX settles on a folder when it first compiles, which evosax does at its import. It tells a
    # change on a log that absl shows.
    logging.getLogger(reset_cache.__module__).setLevel(logging.WARNING)
    reset_cache()


def default_folder() -> Path:
    """jaxalign/xla in the user's cache: XDG_CACHE_HOME where that is set, or else ~/.cache.

    Raises:
      RuntimeError: there is no home folder.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "jaxalign" / "xla"


def _prune(folder: Path, limit: int) -> None:
    """Remove the programs that were used the longest time ago, until the others fit.

    JAX's own limit (jax_compilation_cache_max_size) stops every later write once a process was
    killed between the two files that it keeps of a program.
    """
    entries = []
    with os.scandir(folder) as found:
        for entry in found:
            if entry.name.endswith("-cache") and entry.is_file():
                status = entry.stat()
                used = max(status.st_atime, status.st_mtime)  # a disk may not keep the former
                entries.append((used, status.st_size, entry.path))
    for _, size, path in sorted(entries, reverse=True):
        limit -= size
        if limit < 0:
            Path(path).unlink(missing_ok=True)
