"""What is written of a run: a line of metrics for each generation, and what was run on what."""

import importlib.metadata
import logging
import math
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxalign
from jaxalign.config import flatten, with_new_names
from jaxalign.errors import UserError
from jaxalign.evolve import Metrics

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
        "mesh.population",
        "mesh.model",
        "checkpoint.every",
        "checkpoint.keep",
    }
)


def as_number(value: Any) -> float | None:
    """Return the shortest decimal that reads back as the same float32; None if it is not finite."""
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


def make_run_record(
    config: dict[str, Any],
    resolved: dict[str, Any],
    digests: dict[str, str],
    command: str,
    notice: str | None,
    naive_loss: float | None = None,
) -> dict[str, Any]:
    """Return the content of config.json: what was run, with what, on what."""
    return {
        "command": command,
        "notice": notice,
        "config": config,
        "resolved": resolved,
        "digests": digests,
        "naive_loss": None if naive_loss is None else as_number(naive_loss),
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
    mesh: tuple[int, int] = (1, 1),
) -> None:
    """Refuse to resume a run whose result would differ from the one that was begun.

    Args:
      old: config.json of the workdir.
      config: the new config, nested and plain.
      digests: of weights, survey and target.
      candidates: evaluated in one generation, above which no chunk goes.
      path: of the workdir.
      mesh: devices along its two axes; on another one the run may have another chunk.

    Raises:
      UserError: with every key that differs.
    """
    before, after = flatten(with_new_names(old["config"])), flatten(config)
    same_target = old["digests"].get("target") == digests["target"]
    free = FREE_KEYS if same_target else set(FREE_KEYS) - {"country"}
    changes = [
        f"{key} was {before.get(key)!r}, now {value!r}"
        for key, value in after.items()
        if key not in free and before.get(key) != value
    ]
    chunk = min(after["evaluation.chunk"], -(-candidates // mesh[0]))
    same_mesh = tuple(old["resolved"].get("mesh", (1, 1))) == mesh
    if chunk and same_mesh and chunk != old["resolved"]["chunk"]:  # 0 takes the old run's
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
    """Warn when a run is resumed on other devices or versions, which may round differently."""
    changes = [
        f"{name} was {old['versions'].get(name)}, now {version}"
        for name, version in new["versions"].items()
        if old["versions"].get(name) != version
    ]
    if old["device"] != new["device"]:
        changes.append(f"the device was {old['device']}, now {new['device']}")
    meshes = [" x ".join(map(str, each["resolved"].get("mesh", [1, 1]))) for each in (old, new)]
    if meshes[0] != meshes[1]:
        changes.append(f"the mesh was {meshes[0]}, now {meshes[1]}")
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
    """Return the hardware in words, such as `NVIDIA H200` or the processor's name and cores."""
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
