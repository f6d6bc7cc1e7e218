"""A run's folder: who holds it, what was run, and one line of metrics per generation."""

import contextlib
import fcntl
import importlib.metadata
import json
import logging
import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
from tensorboardX import SummaryWriter

import jaxalign
from jaxalign.config import flatten
from jaxalign.errors import UserError
from jaxalign.evolve import Metrics
from jaxalign.report.files import write_file

_LOG = logging.getLogger(__name__)
PACKAGES = (
    "jaxalign",
    "jax",
    "jaxlib",
    "flax",
    "evosax",
    "orbax-checkpoint",
    "transformers",
    "numpy",
)
# Keys that do not change a result; those of the model and the survey are covered by their digests.
FREE_KEYS = frozenset(
    {
        "workdir",
        "model.path",
        "model.revision",
        "survey.instrument",
        "search.generations",
        "evaluation.chunk",
        "checkpoint.every",
        "checkpoint.keep",
    }
)


COPIES = 4  # of the state on disk: the latest two, the best, and the one being written


class Workdir:
    """Holds a run's folder for this process alone.

    Args:
      path: made if it is missing.

    Raises:
      UserError: the folder cannot be made or written, or another process holds it.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = (path / ".lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"workdir={path}: another run is using it; give another") from None
        except OSError as error:
            raise UserError(
                f"workdir={path}: cannot write there ({error.strerror}); give another --workdir"
            ) from error
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

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        """Writes a JSON file whole or not at all."""
        text = json.dumps(value, indent=2, allow_nan=False) + "\n"
        write_file(self.path / name, text.encode())

    def rewind_metrics(
        self, metrics: Metrics | None, notice: str | None = None
    ) -> list[dict[str, Any]]:
        """Opens metrics.jsonl for a run that goes on after `metrics`; None starts it anew.

        Later lines are of generations that will be run again. The line of `metrics` itself is
        written here, without timings, if the run was cut off before it came to that.

        Returns:
          The records kept.
        """
        path = self.path / "metrics.jsonl"
        records: list[dict[str, Any]] = []
        if metrics is not None:
            last = int(metrics.generation)
            records = [record for record in _whole_records(path) if record["generation"] < last]
            if len(records) < last:
                _LOG.warning("%s lacks lines before generation %d; the run goes on", path, last)
            records.append(_last_record(path, metrics))
        lines = [json.dumps(record, allow_nan=False) for record in records]
        write_file(path, "".join(f"{line}\n" for line in lines).encode())
        self._metrics = path.open("a", encoding="utf-8")
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
        for name, value in record.items():
            if value is not None and name != "generation":
                self._curves.add_scalar(name, value, record["generation"])

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Adds one line; it survives the death of the process."""
        assert self._metrics is not None
        try:
            self._metrics.write(json.dumps(record, allow_nan=False) + "\n")
            self._metrics.flush()
            self._draw(record)
        except OSError as error:
            raise UserError(
                f"{self.path / 'metrics.jsonl'}: cannot write ({error.strerror})"
            ) from error


def as_number(value: Any) -> float | None:
    """The shortest decimal that reads back as the same float32; None if it is not finite."""
    return float(str(np.float32(value))) if math.isfinite(value) else None


def make_record(metrics: Metrics, seconds: float | None, tokens: int | None) -> dict[str, Any]:
    """One line of metrics.jsonl. Infinite means and unknown counts become null."""
    return {
        "generation": int(metrics.generation),
        "evaluations": int(metrics.evaluations),
        "best_loss": as_number(metrics.best_loss),
        "generation_best": as_number(metrics.generation_best),
        "generation_mean": as_number(metrics.generation_mean),
        "accepted": int(metrics.accepted) if metrics.accepted >= 0 else None,
        "failed": int(metrics.failed),
        "prompt_norm": as_number(metrics.prompt_norm),
        "seconds": None if seconds is None else round(seconds, 4),
        "tokens_per_second": round(tokens / seconds) if seconds and tokens else None,
    }


def _whole_records(path: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl that can be read; a kill or a full disk may have cut the last."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and "generation" in record:
                records.append(record)
    return records


def _last_record(path: Path, metrics: Metrics) -> dict[str, Any]:
    """The line of the restored generation, from the file if it is there, else without timings."""
    generation = int(metrics.generation)
    found = [record for record in _whole_records(path) if record["generation"] == generation]
    return found[0] if found else make_record(metrics, None, None)


def make_run_record(
    config: dict[str, Any],
    resolved: dict[str, Any],
    digests: dict[str, str],
    command: str,
    notice: str | None,
) -> dict[str, Any]:
    """The content of config.json: what was run, with what, on what."""
    return {
        "command": command,
        "notice": notice,
        "config": config,
        "resolved": resolved,
        "digests": digests,
        "device": describe_device(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "git_revision": _git_revision(),
    }


def check_same_run(
    old: dict[str, Any], config: dict[str, Any], digests: dict[str, str], path: Path
) -> None:
    """Refuses to go on with a run whose result would differ from the one that was begun.

    Args:
      old: config.json of the workdir.
      config: the new config, nested and plain.
      digests: of weights, survey and target.
      path: of the workdir.

    Raises:
      UserError: with every key that differs.
    """
    before, after = flatten(old["config"]), flatten(config)
    changes = [
        f"{key} was {before.get(key)!r}, now {value!r}"
        for key, value in after.items()
        if key not in FREE_KEYS and before.get(key) != value
    ]
    chunk = after["evaluation.chunk"]
    chunk = min(chunk, after["search.population"])
    if chunk and chunk != old["resolved"]["chunk"]:  # 0 takes the old run's
        changes.append(f"evaluation.chunk was {old['resolved']['chunk']}, now {chunk}")
    changes += [
        f"the {name} changed" for name in digests if old["digests"].get(name) != digests[name]
    ]
    if changes:
        raise UserError(
            f"workdir={path} holds another run: {'; '.join(changes)}; give another --workdir, or "
            "the old settings to go on"
        )


def warn_of_changes(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Warns when a run goes on where it may round differently: another device or other versions."""
    changes = [
        f"{name} was {old['versions'].get(name)}, now {version}"
        for name, version in new["versions"].items()
        if old["versions"].get(name) != version
    ]
    if old["device"] != new["device"]:
        changes.append(f"the device was {old['device']}, now {new['device']}")
    if changes:
        _LOG.warning(
            "%s; the run goes on, but need not end byte for byte where it would have",
            "; ".join(changes),
        )


def describe_device() -> str:
    """The hardware in words, such as `NVIDIA H200` or the processor's name and cores."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{len(jax.devices())} x {device.device_kind}"
    name = "CPU"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = names[0].partition(":")[2].strip() if names else name
    return f"{name}, {os.cpu_count()} cores"


def _git_revision() -> str | None:
    folder = Path(jaxalign.__file__).parent.parent
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
