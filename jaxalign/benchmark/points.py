"""Measures settings one after the other, sharing what they have in common."""

import gc
import importlib.metadata
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxalign.benchmark.measure import measure
from jaxalign.benchmark.peer import PACKAGES, PEERS, Peer, check_objective, find_device
from jaxalign.benchmark.sweep import Point
from jaxalign.config import flatten, to_plain
from jaxalign.errors import UserError
from jaxalign.model import NO_QUANTIZATION
from jaxalign.problem import Problem, check_devices, check_positions, load_problem
from jaxalign.run.provenance import PACKAGES as OURS
from jaxalign.run.provenance import describe_device
from jaxalign.run.random_weights import with_random_weights
from jaxalign.settings import Settings

_LOG = logging.getLogger(__name__)
# What settings may differ in without another problem: see `load_problem`.
_SHARED = ("prompt.", "search.", "evaluation.", "checkpoint.")


def measure_points(
    points: Sequence[Point],
    repeats: int,
    folder: Path,
    shape: str | None = None,
    peer_name: str | None = None,
    trace: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """Return each setting's figures as soon as they are there.

    A setting of a sweep that cannot be run does not take the others with it: its figures are its
    `error` alone. A single setting's error is raised.

    Args:
      points: of `make_points`.
      repeats: rounds of each.
      folder: for what has to be written while measuring.
      shape: a key of `SHAPES` for random weights; None for the config's own model.
      peer_name: a key of `PEERS` that is timed too, beside settings that are not quantised.
      trace: folder for profiles, one below it for each of several settings; None for none.

    Yields:
      What `measure` returns, with `swept`, `model`, `notice`, `hardware` and `versions`.

    Raises:
      UserError: from any part, for a single setting.
    """
    if peer_name:
        find_device()
        for point in [point for point in points if not _is_quantized(point)] or points:
            check_objective(point.settings)
    # `problem` and `peer` are bound here alone, so that one model's memory is free before another's
    # is taken.
    problem: Problem | None = None
    peer: Peer | None = None
    loaded: dict[str, Any] = {}
    for number, point in enumerate(points):
        about: dict[str, Any] = {
            "swept": point.swept,
            "hardware": describe_device(),
            "versions": _versions(peer),
        }
        try:
            wanted = _of_the_problem(point.settings)
            if problem is None or wanted != loaded:
                problem = peer = None
                gc.collect()  # torch's modules and our closures point at each other
                problem = load_problem(point.settings)
                if shape:
                    problem = with_random_weights(point.settings, problem, shape)
                if peer_name and problem.mesh is not None:
                    raise UserError(
                        f"--peer={peer_name} runs on one device: give "
                        "--config.mesh.population=1 --config.mesh.model=1"
                    )
                peer = None
                if peer_name and not _is_quantized(point):
                    peer = PEERS[peer_name](problem)
                loaded = wanted
            check_devices(point.settings, problem.mesh)
            length = point.settings.prompt.length
            check_positions(problem.model_config, problem.questions, length)
            about |= {
                "model": shape or point.settings.model.path,
                "notice": problem.notice,
                "versions": _versions(peer),
            }
            own_trace = trace and (trace / str(number) if len(points) > 1 else trace)
            own_folder = folder / str(number)
            figures = measure(point.settings, problem, repeats, own_folder, peer, own_trace)
        except Exception as error:  # whatever a kernel, a device or its memory raises
            if len(points) == 1:
                raise
            first = str(error).strip().partition("\n")[0]
            reason = first if isinstance(error, UserError) else f"{type(error).__name__}: {first}"
            _LOG.warning("%s: not measured: %s", describe(point.swept), reason)
            figures = {"error": reason}
        yield about | figures


def describe(swept: dict[str, Any]) -> str:
    """Return a setting in words, such as `population=16 chunk=4`."""
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in swept.items())


def _is_quantized(point: Point) -> bool:
    return point.settings.model.quantization != NO_QUANTIZATION


def _of_the_problem(settings: Settings) -> dict[str, Any]:
    flat = flatten(to_plain(settings))
    return {key: value for key, value in flat.items() if not key.startswith(_SHARED)}


def _versions(peer: Peer | None) -> dict[str, str]:
    names = dict.fromkeys((*OURS, *(PACKAGES if peer else ())))
    return {name: importlib.metadata.version(name) for name in names}
