"""How much memory there is, and how much of it an evaluation may take."""

from pathlib import Path
from typing import Any

import jax

# Activations that stay in the cache make small chunks the fast ones (docs/measurements.md).
CPU_CHUNK = 2
SHARE = 0.85  # of what an accelerator has left; the rest is for the state and for fragmentation
# The last is all that XLA's CPU library for products reports when its allocation fails.
_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "YNNPACK operation failed")


def chunk_budget(device: Any) -> int | None:
    """Return bytes for one chunk's temporaries on an accelerator that holds the weights.

    None for a CPU, and for a device that does not report it.
    """
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if not statistics or "bytes_limit" not in statistics:
        return None
    return int(SHARE * (statistics["bytes_limit"] - statistics["bytes_in_use"]))


def device_bytes(device: Any) -> int | None:
    """Return an accelerator's memory in bytes; None for a CPU or where it is unknown."""
    statistics = device.memory_stats() if device.platform != "cpu" else None
    return (statistics or {}).get("bytes_limit")


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error of XLA means that memory ran out."""
    return isinstance(error, jax.errors.JaxRuntimeError) and any(
        sign in str(error) for sign in _OUT_OF_MEMORY
    )


def available_bytes(device: Any) -> int | None:
    """Return bytes left on a device, or on the host for a CPU; None if unknown."""
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics["bytes_in_use"]
    if device.platform != "cpu":
        return None
    left = [kibibytes * 1024 for kibibytes in _numbers("/proc/meminfo", "MemAvailable:")]
    for limit in _numbers("/sys/fs/cgroup/memory.max"):  # of a container; `max` where there is none
        left += [limit - used for used in _numbers("/sys/fs/cgroup/memory.current")]
    return max(0, min(left)) if left else None


def _numbers(path: str, name: str = "") -> list[int]:
    """Return the number after `name` in a file of /proc; None without such a file."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return []
    words = [line.removeprefix(name).split() for line in lines if line.startswith(name)]
    return [int(each[0]) for each in words if each and each[0].isdigit()]
