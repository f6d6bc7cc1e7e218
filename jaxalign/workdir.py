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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import jax
import numpy as np

import jaxalign
from jaxalign.config import flatten
from jaxalign.errors import UserError
from jaxalign.evolve import Metrics
from jaxalign.report.files import write_file

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

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
# Keys that do not change the search; those of model, survey and targets are covered by digests.
FREE_KEYS = frozenset(
    {
        "workdir",
        "country",
        "model.path",
        "model.revision",
        "survey.instrument",
        "search.generations",
        "search.polish",
        "evaluation.chunk",
        "checkpoint.every",
        "checkpoint.keep",
    }
)


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
    """Holds a run's folder for this process alone.

    Args:
      path: made if it is missing.

    Raises:
      UserError: the folder cannot be made or written, or another process holds it.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = hold(path, "--workdir")
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


def make_record(
    countries: Sequence[str],
    terms: Sequence[str],
    metrics: Metrics,
    seconds: float | None = None,
    tokens: int | None = None,
) -> dict[str, Any]:
    """One line of metrics.jsonl. Infinite means and unknown counts become null.

    A run for several countries tells of each under `countries`, and outside of that their means.

    Args:
      countries: codes of the G countries.
      terms: names of the O objectives.
      metrics: of the generation, on the host.
      seconds: that the generation took.
      tokens: that went through the model.
    """
    of_each: dict[str, dict[str, Any]] = {
        code: {
            "best_loss": as_number(metrics.best_loss_G[place]),
            "generation_best": as_number(metrics.generation_best_G[place]),
            "generation_mean": as_number(metrics.generation_mean_G[place]),
            "accepted": _count(metrics.accepted_G[place]),
            "prompt_norm": as_number(metrics.prompt_norm_G[place]),
            "terms": dict(zip(terms, map(as_number, metrics.terms_GO[place]), strict=True)),
        }
        for place, code in enumerate(countries)
    }
    together = of_each[countries[0]]
    if len(countries) > 1:
        together = {
            "best_loss": as_number(np.mean(metrics.best_loss_G)),
            "generation_best": as_number(np.mean(metrics.generation_best_G)),
            "generation_mean": as_number(np.mean(metrics.generation_mean_G)),
            "accepted": _count(np.sum(metrics.accepted_G)),
            "prompt_norm": as_number(np.mean(metrics.prompt_norm_G)),
            "countries": of_each,
        }
    return {
        "generation": int(metrics.generation),
        "evaluations": int(metrics.evaluations),
        "failed": int(metrics.failed),
        **together,
        "seconds": None if seconds is None else round(seconds, 4),
        "tokens_per_second": round(tokens / seconds) if seconds and tokens else None,
    }


def _count(number: Any) -> int | None:
    return int(number) if number >= 0 else None


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
    old: dict[str, Any],
    config: dict[str, Any],
    digests: dict[str, str],
    candidates: int,
    path: Path,
) -> None:
    """Refuses to go on with a run whose result would differ from the one that was begun.

    Args:
      old: config.json of the workdir.
      config: the new config, nested and plain.
      digests: of weights, survey and target.
      candidates: evaluated in one generation, above which no chunk goes.
      path: of the workdir.

    Raises:
      UserError: with every key that differs.
    """
    before, after = flatten(old["config"]), flatten(config)
    same_target = old["digests"].get("target") == digests["target"]
    free = FREE_KEYS if same_target else set(FREE_KEYS) - {"country"}
    changes = [
        f"{key} was {before.get(key)!r}, now {value!r}"
        for key, value in after.items()
        if key not in free and before.get(key) != value
    ]
    chunk = min(after["evaluation.chunk"], candidates)
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
    before, after = (record["config"]["search"] for record in (old, new))
    if after["strategy"] == "LSHADE" and before["generations"] != after["generations"]:
        _LOG.warning(
            "search.generations was %d: LSHADE shrinks its population by that plan, and beyond it "
            "goes on with its last members",
            before["generations"],
        )
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
