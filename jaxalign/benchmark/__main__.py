"""Time the generations of a search, part by part.

    python -m jaxalign.benchmark --config=NAME[:VARIANT] [--model=SHAPE] [--repeats=N]
        [--peer=transformers[-prefix]] [--sweep=KEY=VALUE,VALUE … …] [--trace] [--output=DIR]
        [--compile_for=CHIP[:GRID]]
        [--config.KEY=VALUE …]

Throughput needs no download: --model=llama3-8b asks random weights of Llama-3-8B's shape the
questions of the embedded model.

    python -m jaxalign.benchmark --config=sa.py:embedded --model=llama3-8b
        --config.model.dtype=bfloat16 --config.search.population=64

--peer=transformers also times transformers' torch model on the same weights and population, and
checks that both give the same losses; --peer=transformers-prefix computes what all questions share
only once for each candidate. --sweep=population=16,64,256 measures one setting after the
other; several sweeps make a grid.

--compile_for=v5e:2x2 (v5p, v6e, h100 or h200, and a grid of them) runs nothing: it compiles what
a run would for these chips, which need not be there, and prints what the programs take. With
--sweep it compiles only the evaluation of each setting. Needs the extra compile-tpu or compile-gpu.

The last lines printed are JSON, one per setting. --output writes them to DIR/benchmark.json, or for
a sweep to DIR/benchmark.jsonl with a table (benchmark.csv) and a plot (scaling.png, scaling.svg).
jaxalign/benchmark/measure.py says what each figure counts.
"""

import datetime
import json
import logging
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
from absl import flags

from jaxalign import cli
from jaxalign.benchmark import Point, make_points, measure_points
from jaxalign.benchmark.ahead import compile_points, find_target
from jaxalign.benchmark.peer import PEERS
from jaxalign.config import freeze
from jaxalign.errors import UserError
from jaxalign.files import local_path, write_file
from jaxalign.report import print_header
from jaxalign.report.drawing import Sheet
from jaxalign.report.throughput import (
    plot_scaling,
    point_line,
    print_points,
    print_programs,
    rows,
    write_points_csv,
)
from jaxalign.run.random_weights import SHAPES
from jaxalign.settings import EMBEDDED

_CONFIG = cli.define_config()
_MODEL = flags.DEFINE_enum(
    "model",
    None,
    [EMBEDDED, *SHAPES],
    "The embedded model, or random weights of a shape; the config's own model if left out.",
)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Generations to time.", lower_bound=1)
_PEER = flags.DEFINE_enum("peer", None, list(PEERS), "What to time beside it; needs torch.")
_SWEEP = flags.DEFINE_multi_string("sweep", [], "KEY=VALUE,VALUE; several make a grid.")
_TRACE = flags.DEFINE_bool("trace", False, "Write a profile to OUTPUT/trace.")
_COMPILE_FOR = flags.DEFINE_string("compile_for", None, "Chips to compile for, such as v5e:2x2.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the files.")


def main(typed: list[str]) -> None:
    """Run the command; `typed` are its arguments. Ends with 1 where the peer's losses differ."""
    config, output = _CONFIG.value, _OUTPUT.value
    if _MODEL.value == EMBEDDED:
        config.model.path = EMBEDDED
    if _TRACE.value and output is None:
        raise UserError("--trace: there is no folder to write it to; give --output=DIR")
    points = make_points(freeze(config), _SWEEP.value)
    folder = local_path(output, "--output") if output else None
    done = _measure(points, shlex.join(["python", "-m", "jaxalign.benchmark", *typed]), folder)
    lines = [json.dumps(figures, allow_nan=False) for figures in done]
    if _COMPILE_FOR.value:
        print_programs(done)
    elif _SWEEP.value:
        print_points(done)
    else:
        print_header(rows(done[0]), done[0]["notice"])
    print("\n".join(lines), flush=True)
    if folder and _SWEEP.value and not _COMPILE_FOR.value:
        write_points_csv(done, folder / "benchmark.csv")
        measured = [figures for figures in done if "error" not in figures]
        if measured:
            title = f"{measured[0]['model']} on {measured[0]['hardware']}"
            plot_scaling(measured, Sheet(folder / "scaling", title, measured[0]["notice"]))
    if any(figures.get("peer", {}).get("losses", {}).get("equal") is False for figures in done):
        sys.exit(1)


def _measure(points: list[Point], typed: str, folder: Path | None) -> list[dict[str, Any]]:
    """Measure all settings; each is written and printed as soon as it is there."""
    name = "benchmark.jsonl" if _SWEEP.value else "benchmark.json"
    done: list[dict[str, Any]] = []
    shape = _MODEL.value if _MODEL.value in SHAPES else None
    with _scratch(folder) as scratch:
        if _COMPILE_FOR.value:
            jax.config.update(
                "jax_enable_compilation_cache", False
            )  # made for devices that are there
            found = compile_points(points, find_target(_COMPILE_FOR.value), shape)
        else:
            found = measure_points(
                points,
                _REPEATS.value,
                Path(scratch),
                shape=shape,
                peer_name=_PEER.value,
                trace=folder / "trace" if folder and _TRACE.value else None,
            )
        for figures in found:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            about = {"command": typed, "date": now, "load": os.getloadavg()[0]}
            done.append(about | figures)
            if _SWEEP.value and not _COMPILE_FOR.value:
                print(point_line(len(done), len(points), done[-1]), flush=True)
            if folder:
                lines = "".join(json.dumps(each, allow_nan=False) + "\n" for each in done)
                write_file(folder / name, lines.encode())
    return done


def _scratch(folder: Path | None) -> tempfile.TemporaryDirectory[str]:
    """Return a folder for the checkpoints, inside --output if given."""
    if folder is None:
        return tempfile.TemporaryDirectory()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=folder)
    except OSError as error:
        raise UserError(
            f"--output={folder}: cannot write there ({error.strerror}); give another"
        ) from error


if __name__ == "__main__":
    logging.getLogger("jax").setLevel(logging.WARNING)  # it logs its caches and profiles
    cli.run(main)
