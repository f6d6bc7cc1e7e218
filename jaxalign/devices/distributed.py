"""Several processes that work on one run, joined by `jax.distributed`.

`join` has to come before anything touches a device, and so before most imports. All processes then
run the same program on the same arguments and see one workdir; the first one alone writes what is
not a checkpoint.
"""

import contextlib
import http.client
import importlib.util
import os
import re
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxalign.devices.memory import is_out_of_memory

FLAG = "distributed"
_FAREWELL = 10.0  # seconds in which processes that fail alike end alike
_REPORT = 3600  # seconds that the others wait at their end while the first writes its report
_HEARTBEAT = "JAXALIGN_HEARTBEAT_SECONDS"
_STATUS = re.compile("(UNKNOWN|UNAVAILABLE|INTERNAL|ABORTED|CANCELLED|DEADLINE_EXCEEDED): ")
_NAMED = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def is_wanted(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Return whether this is one of several processes: --distributed, SLURM, a TPU slice."""
    wanted = None
    for argument in arguments:
        name, _, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name in (FLAG, f"no{FLAG}"):
            wanted = name == FLAG and value.lower() not in ("false", "f", "0")  # as absl reads it
    if wanted is not None:
        return wanted
    tasks = environment.get("SLURM_NTASKS", "1") if "SLURM_PROCID" in environment else "1"
    return tasks not in ("", "1") or _tpu_hosts(environment) > 1


def _tpu_hosts(environment: Mapping[str, str]) -> int:
    """Return the number of hosts of a TPU slice, from GKE or the metadata server.

    1 where there is no TPU.
    """
    slices = int(environment.get("MEGASCALE_NUM_SLICES") or 1)
    for name in ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES"):
        if name in environment:
            return slices * len(environment[name].split(","))
    if "TPU_SKIP_MDS_QUERY" in environment or importlib.util.find_spec("libtpu") is None:
        return 1
    server = environment.get("GCE_METADATA_IP", "metadata.google.internal")
    request = urllib.request.Request(
        f"http://{server}/computeMetadata/v1/instance/attributes/worker-network-endpoints",
        headers={"Metadata-Flavor": "Google"},
    )
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:
            return slices * len(answer.read().decode().split(","))
    except (OSError, http.client.HTTPException):
        return 1


def join(arguments: Sequence[str]) -> None:
    """Join the other processes of this run, if there are any.

    Where to find them comes from JAX_COORDINATOR_ADDRESS (host:port of the first process),
    JAX_NUM_PROCESSES and JAX_PROCESS_ID, or else from SLURM, the TPU slice or MPI, as JAX finds it.
    A process that has not been heard of for JAXALIGN_HEARTBEAT_SECONDS (100) ends all others.
    """
    if not is_wanted(arguments, os.environ):
        return
    # Accelerators do not look at it.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    named = [os.environ.get(name) for name in _NAMED]
    address, processes, number = named if all(named) else (None, None, None)
    try:
        jax.distributed.initialize(
            coordinator_address=address,
            num_processes=processes and int(processes),
            process_id=number and int(number),
            heartbeat_timeout_seconds=int(os.environ.get(_HEARTBEAT, "100")),
            shutdown_timeout_seconds=_REPORT,
        )
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        print(
            f"error: --{FLAG}: cannot join the other processes ({reason}); set "
            f"{', '.join(_NAMED)}, or start this under SLURM or on a TPU slice",
            file=sys.stderr,
            flush=True,
        )
        # A wrong setting stays wrong; a port that is taken may be free the next time.
        sys.exit(2 if isinstance(error, ValueError) else 1)


def is_multiprocess() -> bool:
    """Return whether this process has joined others."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Return whether this process is the one that writes."""
    return jax.process_index() == 0


def smallest(number: int | None) -> int | None:
    """Return the smallest of the processes' byte counts, in whole MiB; None without any."""
    if number is None or not is_multiprocess():
        return number
    return int(multihost_utils.process_allgather(np.int32(number >> 20)).min()) << 20


def slowest(seconds: float) -> float:
    """Return the most seconds that any of the processes took, so that all decide alike."""
    if not is_multiprocess():
        return seconds
    return float(multihost_utils.process_allgather(np.float32(seconds)).max())


def all_stop_at(generation: int) -> bool:
    """Return whether all processes are to stop at this generation, since one was sent SIGTERM.

    Each must ask at every generation. JAX passes the notice on and agrees on one that none of them
    has passed.
    """
    return multihost_utils.reached_preemption_sync_point(generation)


@contextlib.contextmanager
def wait_for_all(name: str) -> Iterator[None]:
    """Make every process wait at the end of a block until all are there."""
    yield
    if is_multiprocess():
        multihost_utils.sync_global_devices(name)


def exit_soon(status: int) -> None:
    """End a failed process with a status within seconds.

    At its exit JAX waits for the other processes, which may have failed alike, or may wait for this
    one themselves.
    """
    if jax.distributed.is_initialized():
        timer = threading.Timer(_FAREWELL, os._exit, [status])
        timer.daemon = True
        timer.start()


@contextlib.contextmanager
def exit_on_peer_failure() -> Iterator[None]:
    """Exit with 1 and one line when another process of the run has died.

    At once: an orderly exit would wait for the other.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        # Some calls of JAX make a ValueError of a collective that has failed.
        failed = isinstance(error, jax.errors.JaxRuntimeError) or _STATUS.match(str(error))
        if not failed or not is_multiprocess() or is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200]
        print(
            "error: another process of this run is gone or has failed, and no generation can be "
            f"finished without it; start all of them again to resume ({reason})",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)
