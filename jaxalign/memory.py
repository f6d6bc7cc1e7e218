"""How much memory an evaluation may take, and how a lack of it is told."""

from typing import Any

import jax

# Activations that stay in the processor's cache make small chunks the fast ones: BUILD_NOTES.md.
CPU_CHUNK = 2
SHARE = 0.85  # of what an accelerator has left; the rest is for the state and for fragmentation


def chunk_budget(device: Any) -> int | None:
    """Bytes that one chunk's temporaries may take on an accelerator that holds the weights already.

    None for a CPU, and for a device that does not tell.
    """
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if not statistics or "bytes_limit" not in statistics:
        return None
    return int(SHARE * (statistics["bytes_limit"] - statistics["bytes_in_use"]))


def is_out_of_memory(error: Exception) -> bool:
    """Whether XLA could not have the memory that it asked for; not every path keeps the status."""
    told = str(error)
    return isinstance(error, jax.errors.JaxRuntimeError) and (
        "RESOURCE_EXHAUSTED" in told or "Out of memory" in told
    )
