"""The content of config.json: what was run, with which versions, on which hardware."""

import importlib.metadata
import os
import subprocess
from pathlib import Path
from typing import Any

import jax

import jaxalign
from jaxalign.run.metrics import as_number

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
