"""Times generations of a search and their parts, and prints the figures.

    python -m jaxalign.benchmark --config=NAME[:VARIANT] [--model=SHAPE] [--repeats=N]
        [--output=DIR] [--config.KEY=VALUE …]

Throughput needs no download: --model=llama3-8b gives the embedded model's questions to random
weights of Llama-3-8B's shape.

    python -m jaxalign.benchmark --config=sa.py:embedded --model=llama3-8b
        --config.model.dtype=bfloat16 --config.search.population=64

The last line printed is JSON; --output keeps it as DIR/benchmark.json. What each figure counts is
told in `jaxalign.throughput.measure`.
"""

import datetime
import importlib.metadata
import json
import logging
import os
import shlex
import tempfile
from pathlib import Path
from typing import Any

from absl import flags

from jaxalign import command
from jaxalign.config import EMBEDDED, validate
from jaxalign.errors import UserError
from jaxalign.problem import load_problem
from jaxalign.report import print_header
from jaxalign.report.files import write_file
from jaxalign.shapes import SHAPES, with_random_weights
from jaxalign.throughput import measure
from jaxalign.workdir import PACKAGES, describe_device

_CONFIG = command.define_config()
_MODEL = flags.DEFINE_enum(
    "model",
    None,
    [EMBEDDED, *SHAPES],
    "The embedded model, or random weights of a shape; the config's own model if left out.",
)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Generations to time.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for benchmark.json.")


def main(typed: list[str]) -> None:
    """The command; `typed` are its arguments."""
    config, output = _CONFIG.value, _OUTPUT.value
    if _MODEL.value == EMBEDDED:
        config.model.path = EMBEDDED
    validate(config)
    problem = load_problem(config)
    if _MODEL.value in SHAPES:
        problem = with_random_weights(config, problem, _MODEL.value)
    about = {
        "command": shlex.join(["python", "-m", "jaxalign.benchmark", *typed]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "hardware": describe_device(),
        "load": os.getloadavg()[0],
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "model": _MODEL.value or config.model.path,
    }
    with _scratch(output) as folder:
        figures = about | measure(config, problem, _REPEATS.value, Path(folder))
    print_header(_rows(figures), problem.notice)
    line = json.dumps(figures, allow_nan=False)
    print(line, flush=True)
    if output:
        write_file(Path(os.path.expanduser(output)) / "benchmark.json", f"{line}\n".encode())


def _scratch(output: str | None) -> tempfile.TemporaryDirectory[str]:
    """A folder for the checkpoints, inside --output where there is one: its disk is meant."""
    if output is None:
        return tempfile.TemporaryDirectory()
    path = Path(os.path.expanduser(output))
    try:
        path.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=path)
    except OSError as error:
        raise UserError(
            f"--output={output}: cannot write there ({error.strerror}); give another"
        ) from error


def _rows(figures: dict[str, Any]) -> dict[str, str]:
    """The table: what was measured, and every figure in words."""
    seconds, memory, compiled = figures["seconds"], figures["memory"], figures["compile_seconds"]
    generation, ceiling = seconds["generation"], figures["ceiling"]
    parts = {
        "evaluate": "evaluate",
        "ask_tell": "ask + tell",
        "rest": "rest",
        "checkpoint": "one checkpoint until durable",
    }
    return {
        "model": f"{figures['model']}, {figures['parameters']:,} parameters, {figures['dtype']}, "
        f"attention {figures['attention']}",
        "device": f"{figures['hardware']}; load {figures['load']:.1f}",
        "versions": " ".join(f"{name} {version}" for name, version in figures["versions"].items()),
        "date": figures["date"],
        "generation": f"{figures['population']} candidates x ({figures['prompt_length']} prompt + "
        f"{figures['trie_tokens']} trie tokens) = {figures['tokens']:,} tokens, "
        f"{figures['chunk']} candidates at a time",
        "seconds": f"{generation:.4g} (median of {figures['repeats']}, "
        f"{min(figures['generation_seconds']):.4g} to {max(figures['generation_seconds']):.4g})",
        "candidates/s": f"{figures['candidates_per_second']:,.4g}",
        "trie tokens/s": f"{figures['tokens_per_second']:,.0f}",
        "linear layers": f"{figures['flop_per_token'] / 1e9:,.4g} GFLOP per token, "
        f"{figures['share_of_ceiling']:.1%} of the ceiling",
        "ceiling": f"{ceiling['flop_per_second'] / 1e12:,.4g} TFLOP/s, {figures['dtype']} product "
        f"of {ceiling['rows']} x {ceiling['rows']}",
        "saving": f"{figures['saving']:.2f} times fewer tokens than a padded batch",
        **{
            name: f"{seconds[part]:.4g} s, {seconds[part] / generation:.1%}"
            for part, name in parts.items()
        },
        "all but evaluate": f"{figures['overhead_share']:.1%} of a generation, checkpoint included",
        "memory": f"peak {_mebibytes(memory['peak'])}, predicted "
        f"{_mebibytes(memory['predicted'])} ({_mebibytes(memory['weights'])} weights, "
        f"{_mebibytes(memory['working'])} working)",
        "compiling": f"{_seconds(compiled['step'])} the step, {compiled['engine']:.1f} s all of "
        f"the engine, {compiled['chunk']:.1f} s choosing the chunk",
        "resume": "byte for byte" if figures["resume_identical"] else "DIFFERS",
    }


def _mebibytes(number: int | None) -> str:
    return "not told" if number is None else f"{number / 2**20:,.0f} MiB"


def _seconds(number: float | None) -> str:
    return "not told" if number is None else f"{number:.1f} s"


if __name__ == "__main__":
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    command.run(main)
