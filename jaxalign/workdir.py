"""A run's folder: who holds it, and its metrics, which only grow by whole lines."""

import contextlib
import fcntl
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import jax

from jaxalign.distributed import is_first
from jaxalign.errors import UserError
from jaxalign.report.files import write_file

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

_LOG = logging.getLogger(__name__)


COPIES = 4  # of the state on disk: the latest two, the best, and the one being written


def hold(folder: Path, name: str) -> TextIO:
    """Makes a folder and holds it for this process alone, until the file given back is closed.

    Args:
      folder: with its parents.
      name: of the flag that named it, for messages.

    Raises:
      UserError: the folder cannot be made or written, or another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise UserError(f"{name}={folder}: another run is using it; give another") from None
    except OSError as error:
        raise UserError(
            f"{name}={folder}: cannot write there ({error.strerror}); give another"
        ) from error
    return lock


class Workdir:
    """Holds a run's folder for this process alone, or for the first of several that share a run.

    The others read, and write nothing.

    Args:
      path: made if it is missing.

    Raises:
      UserError: the folder cannot be made or written, or another process holds it.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = hold(path, "--workdir") if is_first() else None
        self._metrics: TextIO | None = None
        self._curves: SummaryWriter | None = None

    def __enter__(self) -> "Workdir":
        """Gives itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Lets others have the folder."""
        if self._metrics:
            self._metrics.close()
        if self._curves:
            self._curves.close()
        if self._lock:
            self._lock.close()

    def require_space(self, abstract_state: Any) -> None:
        """Raises UserError unless the disk has room for the checkpoints kept at one time."""
        leaves = jax.tree.leaves(abstract_state)
        needed = COPIES * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise UserError(
                f"workdir={self.path}: the checkpoints need about {needed / 2**20:.1f} MiB and the "
                f"disk has {free / 2**20:.1f} MiB left; free space or give another --workdir"
            )

    def has_generations(self) -> bool:
        """Whether a run got so far here that something would be lost: a checkpoint or a metric."""
        metrics = self.path / "metrics.jsonl"
        if metrics.exists() and metrics.stat().st_size:
            return True
        return any(folder.name.isdigit() for folder in self.path.glob("checkpoints/*"))

    def read_record(self) -> dict[str, Any] | None:
        """config.json of an earlier start of this run, or None.

        Raises:
          UserError: it is there and cannot be read.
        """
        path = self.path / "config.json"
        if not path.exists():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error}); give another --workdir") from error

    def rewind_metrics(
        self,
        last: dict[str, Any] | None,
        notice: str | None = None,
    ) -> list[dict[str, Any]]:
        """Opens metrics.jsonl for a run that goes on after a generation; None starts it anew.

        Later lines are of generations that will be run again.

        Args:
          last: the record of that generation, as its checkpoint has it, without timings. It is
            written here if the run was cut off before it came to that.
          notice: shown with the curves.

        Returns:
          The records kept.
        """
        path = self.path / "metrics.jsonl"
        records: list[dict[str, Any]] = []
        if last is not None:
            number = last["generation"]
            found = _whole_records(path)
            records = [record for record in found if record["generation"] < number]
            if len(records) < number:
                _LOG.warning("%s lacks lines before generation %d; the run goes on", path, number)
            records += [record for record in found if record["generation"] == number][:1] or [last]
        if not is_first():
            return records
        lines = [json.dumps(record, allow_nan=False) for record in records]
        write_file(path, "".join(f"{line}\n" for line in lines).encode())
        self._metrics = path.open("a", encoding="utf-8")
        # Loaded here, since it loads torch where there is one, which takes over a second.
        from tensorboardX import SummaryWriter

        # Curves are drawn anew: event files of a killed run lack what it had not flushed.
        curves = self.path / "tensorboard"
        shutil.rmtree(curves, ignore_errors=True)
        self._curves = SummaryWriter(str(curves), write_to_disk=True, flush_secs=10)
        if notice:
            self._curves.add_text("notice", notice)
        for record in records:
            self._draw(record)
        return records

    def _draw(self, record: dict[str, Any]) -> None:
        assert self._curves is not None
        for name, value in _curves(record):
            self._curves.add_scalar(name, value, record["generation"])

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Adds one line; it survives the death of the process."""
        if not is_first():
            return
        assert self._metrics is not None
        try:
            self._metrics.write(json.dumps(record, allow_nan=False) + "\n")
            self._metrics.flush()
            self._draw(record)
        except OSError as error:
            raise UserError(
                f"{self.path / 'metrics.jsonl'}: cannot write ({error.strerror})"
            ) from error


def _curves(record: dict[str, Any], place: str = "") -> Iterator[tuple[str, float]]:
    """Names and values of a record's numbers; what lies deeper is named with slashes."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _curves(value, f"{place}{name}/")
        elif value is not None and name != "generation":
            yield place + name, value


def _whole_records(path: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl that can be read; a kill or a full disk may have cut the last."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and "generation" in record:
                records.append(record)
    return records
