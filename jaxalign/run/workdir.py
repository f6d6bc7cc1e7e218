"""A run's folder: held by one process, which beats there, and metrics that grow by whole lines."""

import contextlib
import functools
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import jax

from jaxalign.devices.distributed import is_first
from jaxalign.errors import UserError
from jaxalign.files import read_json, write_file, writing
from jaxalign.run.heartbeat import Heartbeat, hold, require_free
from jaxalign.run.trackers import TensorBoard, Tracker

_LOG = logging.getLogger(__name__)


COPIES = 4  # of the state on disk: the latest two, the best, and the one being written


class Workdir:
    """A run's folder, held by this process, or by the first of several that share a run.

    The others read, and write nothing.

    Args:
      path: made if it is missing, when the context is entered.

    Raises:
      UserError: on entering: the folder cannot be made or written, or another process holds it.
    """

    def __init__(self, path: Path):
        self.path = path
        self._held = contextlib.ExitStack()
        self._metrics: TextIO | None = None
        self._trackers: list[Tracker] = []
        self._heartbeat: Heartbeat | None = None
        self._generation: int | None = None

    def __enter__(self) -> "Workdir":
        """Make and hold the folder."""
        if is_first():
            self._held.enter_context(hold(self.path, "--workdir"))
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """Release the folder; what goes wrong meanwhile is told only where nothing else did."""
        closing: list[Callable[[], None]] = []
        if self._heartbeat and error:
            closing.append(functools.partial(self._heartbeat.fail, self._generation))
        if self._metrics:
            closing.append(self._metrics.close)
        for tracker in self._trackers:
            closing.append(functools.partial(tracker.close, failed=error is not None))
        closing.append(self._held.close)
        faults: list[Exception] = []
        for close in closing:
            try:
                with writing(self.path):
                    close()
            except Exception as fault:
                faults.append(fault)
        if faults and error is None:
            raise faults[0]

    def require_free(self) -> None:
        """Raise UserError if the folder could not be held; makes nothing."""
        if is_first():
            require_free(self.path, "--workdir")

    def begin(self, generations: int) -> None:
        """Write that a run up to this generation starts."""
        if not is_first():
            return
        for leftover in self.path.rglob(".*.tmp"):  # of a process that was killed while it wrote
            with writing(leftover):
                leftover.unlink(missing_ok=True)
        self._heartbeat = Heartbeat(self.path, generations)
        self._heartbeat.beat("starting", None)

    def write_state(self, state: str) -> None:
        """Write a new state of the run, one of those listed by `Heartbeat`."""
        if self._heartbeat:
            self._heartbeat.beat(state, self._generation)

    def add_tracker(self, tracker: Tracker) -> None:
        """Show the records there too."""
        self._trackers.append(tracker)

    def show_ending(self) -> None:
        """Add plots and texts of the finished run, whose report is written, to the trackers."""
        if not is_first():
            return
        # Loaded here, since matplotlib takes 0.4 s, which the first generation need not wait for.
        from jaxalign.report.ending import read_ending

        ending = read_ending(self.path)
        with writing(self.path / "tensorboard"):
            for tracker in self._trackers:
                tracker.show(ending)

    def require_space(self, abstract_state: Any) -> None:
        """Raise UserError unless the disk has room for the checkpoints kept at one time."""
        leaves = jax.tree.leaves(abstract_state)
        needed = COPIES * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise UserError(
                f"workdir={self.path}: the checkpoints need about {needed / 2**20:.1f} MiB and the "
                f"disk has {free / 2**20:.1f} MiB left; free space or give another --workdir"
            )

    def has_generations(self) -> bool:
        """Return whether the workdir has a checkpoint or a metric that could be lost."""
        metrics = self.path / "metrics.jsonl"
        if metrics.exists() and metrics.stat().st_size:
            return True
        return self.newest_checkpoint() is not None

    def newest_checkpoint(self) -> int | None:
        """Return the highest generation that has a checkpoint, readable or not."""
        names = (folder.name for folder in self.path.glob("checkpoints/*"))
        return max((int(name) for name in names if name.isdecimal()), default=None)

    def require_no_metrics(self) -> None:
        """Raise UserError if metrics.jsonl has lines that a new start would overwrite."""
        path = self.path / "metrics.jsonl"
        if lost := len(_whole_records(path)):
            raise UserError(
                f"{path} tells of {lost} generations, but there is no checkpoint to go on from: "
                f"put {self.path / 'checkpoints'} back, or give another --workdir"
            )

    def read_record(self) -> dict[str, Any] | None:
        """config.json of an earlier start of this run, or None.

        Raises:
          UserError: it is there and cannot be read.
        """
        path = self.path / "config.json"
        if not path.exists():
            return None
        record = read_json(path)
        for key in ("config", "resolved", "digests", "versions"):
            if not isinstance(record.get(key), dict):
                raise UserError(f"{path}: {key!r} is missing; give another --workdir")
        return record

    def rewind_metrics(
        self,
        last: dict[str, Any] | None,
        notice: str | None = None,
    ) -> list[dict[str, Any]]:
        """Open metrics.jsonl for a run that resumes after a generation; None starts a new file.

        Later lines are of generations that will be run again.

        Args:
          last: the record of that generation, as its checkpoint has it, without timings. It is
            written here if the run was cut off before it came to that.
          notice: shown by the trackers.

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
                _LOG.warning("%s lacks lines before generation %d; the run continues", path, number)
            records += [record for record in found if record["generation"] == number][:1] or [last]
        if not is_first():
            return records
        lines = [json.dumps(record, allow_nan=False) for record in records]
        write_file(path, "".join(f"{line}\n" for line in lines).encode())
        with writing(path):
            self._metrics = path.open("a", encoding="utf-8")
        with writing(self.path / "tensorboard"):
            self.add_tracker(TensorBoard(self.path / "tensorboard", notice))
            for record in records:
                for tracker in self._trackers:
                    tracker.draw(record)
        if records:
            self._generation = records[-1]["generation"]
            self.write_state("running")
        return records

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Add one line; it survives the death of the process and of the machine."""
        if not is_first():
            return
        assert self._metrics is not None
        with writing(self.path / "metrics.jsonl"):
            self._metrics.write(json.dumps(record, allow_nan=False) + "\n")
            self._metrics.flush()
            os.fsync(self._metrics.fileno())
        with writing(self.path / "tensorboard"):
            for tracker in self._trackers:
                tracker.draw(record)
        self._generation = record["generation"]
        if self._heartbeat:
            self._heartbeat.beat("running", self._generation, record["seconds"])


def _whole_records(path: Path) -> list[dict[str, Any]]:
    """Return the readable lines of metrics.jsonl; the last one may be cut."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and "generation" in record:
                records.append(record)
    return records
