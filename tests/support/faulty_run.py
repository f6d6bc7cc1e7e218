"""Runs a tiny search on a disk that fails, again and again, each time at another call.

LD_PRELOAD=faulty_disk.so python faulty_run.py faulty_disk.so ERROR LASTING EVERY FOLDER

For every EVERY-th kind of call (its name and path, without numbers) of a run a line of JSON says
what failed and what came of it: `told`, the type and text of the error; `noise`, what else was
told; `same`, whether the resumed run ended with the bytes of one that nothing stopped.
"""

import contextlib
import ctypes
import errno
import io
import json
import re
import shutil
import sys
import threading
from pathlib import Path

import jax
from random_models import TINY, save_random

from jaxalign.config import base, freeze
from jaxalign.run.tune import tune
from jaxalign.settings import Settings

_NUMBERS = re.compile(r"[0-9a-f]{32}|\d+")


def settings_of(model: Path) -> Settings:
    config = base("embedded")
    config.country = "SA"
    config.model.path = str(model)
    config.prompt.length = 3
    config.search.strategy = "DifferentialEvolution"
    config.search.population = 6
    config.search.generations = 3
    config.search.polish = 2
    config.objective.formats = "identity"
    config.evaluation.chunk = 3
    return freeze(config)


def run(settings: Settings, workdir: Path) -> bytes:
    with contextlib.redirect_stdout(io.StringIO()):
        tune(settings, workdir)
    return (workdir / "soft_prompt.safetensors").read_bytes()


def attempt(settings: Settings, workdir: Path) -> tuple[str, str]:
    """Return the error of a run, and what it tells beside."""
    noise: list[str] = []
    sys.unraisablehook = lambda told: noise.append(repr(told.exc_value))
    threading.excepthook = lambda told: noise.append(repr(told.exc_value))
    errors, told = io.StringIO(), ""
    with contextlib.redirect_stderr(errors):
        try:
            run(settings, workdir)
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
    return told, "".join([errors.getvalue(), *noise])


def main(library: str, error: str, lasting: str, every: str, folder: str) -> None:
    disk = ctypes.CDLL(library)
    disk.fault_call.restype = ctypes.c_char_p
    root = Path(folder)
    save_random(root / "model", TINY)
    settings, whole = settings_of(root / "model"), root / "whole"
    jax.config.update("jax_compilation_cache_dir", str(root / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    disk.fault_arm(str(whole).encode(), 0, getattr(errno, error), 0)
    wanted = run(settings, whole)
    places: dict[str, list[int]] = {}
    for number in range(1, disk.fault_calls() + 1):
        call = disk.fault_call(number).decode().replace(str(whole), "")
        places.setdefault(_NUMBERS.sub("#", call), []).append(number)
    for numbers in list(places.values())[:: int(every)]:
        workdir, number = root / "run", numbers[len(numbers) // 2]
        disk.fault_arm(str(workdir).encode(), number, getattr(errno, error), int(lasting))
        told, noise = attempt(settings, workdir)
        call = disk.fault_call(number).decode().replace(str(workdir), "")
        disk.fault_arm(b"", 0, 0, 0)
        try:
            same = run(settings, workdir) == wanted
        except Exception as fault:
            same = f"{type(fault).__name__}: {fault}"
        shutil.rmtree(workdir, ignore_errors=True)
        print(json.dumps({"call": call, "told": told, "noise": noise, "same": same}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
