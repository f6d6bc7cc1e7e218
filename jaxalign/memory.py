"""How much memory an evaluation may take."""

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
