"""Signs of life: who holds a folder, and a small file that says how far its run is."""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from jaxalign.errors import UserError
from jaxalign.files import local_path, write_file, write_json

NAME = "heartbeat.json"
FINAL = ("done", "stopped", "failed")  # states that a process leaves behind
_LOCK = ".lock"
_WAIT = 0.25  # seconds: `is_held` takes the lock for microseconds; a start must not fail by that
_BETWEEN = 1.0  # seconds between beats of one state
# Seconds in which the next beat is due; while generations run, some of their lengths.
_PATIENCE, _LEAST_PATIENCE, _GENERATIONS = 1800.0, 60.0, 20


@contextlib.contextmanager
def hold(folder: Path, name: str) -> Iterator[None]:
    """Create a folder and lock it for this process; a kill releases it too.

    Args:
      folder: with its parents.
      name: flag that named it, for messages.

    Raises:
      UserError: the folder cannot be made or written, or another process holds it.
    """
    local_path(str(folder), name)
    lock = FileLock(folder / _LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=_WAIT, poll_interval=_WAIT / 5)
    except Timeout:
        raise UserError(f"{name}={folder}: another run is using it; give another") from None
    except OSError as error:
        raise UserError(
            f"{name}={folder}: cannot write there ({error.strerror}); give another"
        ) from error
    try:
        yield
    finally:
        lock.release()


def require_free(folder: Path, name: str) -> None:
    """Check, before anything is loaded, that a folder could be held; makes nothing.

    Raises:
      UserError: as `hold` does.
    """
    require_writable(folder, name)
    if is_held(folder, _WAIT):
        raise UserError(f"{name}={folder}: another run is using it; give another")


def require_writable(folder: Path, name: str) -> None:
    """Check, before anything is loaded, that a folder could be written; makes nothing.

    Args:
      folder: which need not exist.
      name: flag that named it, for messages.

    Raises:
      UserError: it cannot, or is no folder of this machine.
    """
    folder = local_path(str(folder), name)
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
    if not os.access(there, os.W_OK | os.X_OK) or not there.is_dir():
        code = errno.ENOTDIR
        if there.is_dir():
            is_read_only = os.statvfs(there).f_flag & os.ST_RDONLY
            code = errno.EROFS if is_read_only else errno.EACCES
        raise UserError(f"{name}={folder}: cannot write there ({os.strerror(code)}); give another")


def is_held(folder: Path, wait: float = 0.0) -> bool:
    """Return whether a process holds the folder for so many seconds, as far as locks reach."""
    lock = FileLock(folder / _LOCK)
    if not (folder / _LOCK).exists():
        return False
    try:
        lock.acquire(timeout=wait, poll_interval=_WAIT / 5)
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


class Heartbeat:
    """Keeps heartbeat.json in a workdir, written whole or not at all.

    It holds `state` (starting, running, finishing, done, stopped by request, failed with an error),
    `generation` and `generations`, `time` in seconds since 1970, `patience` in seconds, and `pid`
    and `host` of the process. A run that gives no new beat within its patience is stuck or dead.

    Args:
      folder: the workdir.
      generations: the last generation's number.
    """

    def __init__(self, folder: Path, generations: int):
        self._path = folder / NAME
        self._generations = generations
        self._before = self._path.read_bytes() if self._path.exists() else None
        self._state, self._last = "", 0.0

    def beat(self, state: str, generation: int | None, seconds: float | None = None) -> None:
        """Write the file, at most once a second while the state is the same.

        Args:
          state: of the run.
          generation: the last one that is done, None where that is not known yet.
          seconds: that it took.

        Raises:
          UserError: the file cannot be written.
        """
        now = time.monotonic()
        if state == self._state and now - self._last < _BETWEEN:
            return
        self._state, self._last = state, now
        patience = max(_LEAST_PATIENCE, _GENERATIONS * seconds) if seconds else _PATIENCE
        content = {
            "state": state,
            "generation": generation,
            "generations": self._generations,
            "time": round(time.time(), 3),
            "patience": round(patience, 1),
            "pid": os.getpid(),
            "host": socket.gethostname(),
        }
        write_json(self._path, content)

    def fail(self, generation: int | None) -> None:
        """Write that the run failed; before the first generation the file is left as it was."""
        if self._state != "starting":
            self.beat("failed", generation)
        elif self._before is None:
            self._path.unlink()
        else:
            write_file(self._path, self._before)
