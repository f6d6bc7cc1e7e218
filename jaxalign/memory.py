"""How much memory there is, and how much of it an evaluation may take."""

from pathlib import Path
from typing import Any

# Activations that stay in the processor's cache make small chunks the fast ones: BUILD_NOTES.md.
CPU_BUDGET = 16 * 2**20
SHARE = 0.85  # of what an accelerator has left; the rest is for the state and for fragmentation


def chunk_budget(device: Any) -> int:
    """Bytes that one chunk's temporaries may take on a device, the weights already being there."""
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if not statistics or "bytes_limit" not in statistics:
        return CPU_BUDGET
    return int(SHARE * (statistics["bytes_limit"] - statistics["bytes_in_use"]))


def available_bytes(device: Any) -> int | None:
    """Bytes that are left on a device; of the host for a processor; None where nothing tells."""
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
    """The number after `name` in a file of the kernel's, or none where there is no such thing."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return []
    words = [line.removeprefix(name).split() for line in lines if line.startswith(name)]
    return [int(each[0]) for each in words if each and each[0].isdigit()]
