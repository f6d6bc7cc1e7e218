"""Runs the accelerator checklist in ten minutes and writes it as a table.

    python tests/support/checklist.py --output=DIR [--seconds=600] [--small]

Each row has a share of the time and none is waited for longer: what was not reached says so, and
what failed has its last line. Rows come in the order of their worth. DIR/checklist.md is the table,
and DIR/NAME holds what each command wrote. --small is a rehearsal on a CPU.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_LARGE = ("--model=llama3-8b", "--config.model.dtype=bfloat16", "--config.search.population=64")
_SMALL = ("--model=2x512", "--config.search.population=4", "--config.prompt.length=4")
_BENCHMARK = ("-m", "jaxalign.benchmark", "--config=sa.py:embedded")
_ONE_FORMAT = "--config.objective.formats=identity"


@dataclasses.dataclass(frozen=True)
class Row:
    """One row: a command of Python's, its share of the seconds, and what to show of its files."""

    name: str
    command: tuple[str, ...]
    share: float
    show: Callable[[Path], str]


def rows(small: bool) -> list[Row]:
    """Return the checklist; a rehearsal has the same rows with less in them."""
    model, repeats = (_SMALL, "--repeats=1") if small else (_LARGE, "--repeats=3")
    benchmark = (*_BENCHMARK, *model, _ONE_FORMAT, repeats)
    bits, kernels = ("none,int8", "blocks,xla") if small else ("none,fp8,int8", "xla,pallas,cudnn")
    tests = (
        ("tests/unit/model/test_attention.py", "-k=gradient"),
        ("tests/unit/model/test_attention_kernels.py", "-k=agree or bfloat16 or whole"),
    )[not small]
    return [
        Row("a generation", benchmark, 0.35, _generation),
        Row("8 bits", (*benchmark, f"--sweep=quantization={bits}"), 0.25, _settings),
        Row("kernels agree", ("-m", "pytest", "-q", "-n0", *tests), 0.1, _passed),
        Row("attentions", (*benchmark, f"--sweep=attention={kernels}"), 0.2, _settings),
        Row("chunks", (*benchmark, "--sweep=chunk=2,8" + ",32" * (not small)), 0.1, _settings),
    ]


def _read(folder: Path) -> list[dict[str, Any]]:
    (file,) = folder.glob("benchmark.json*")
    return [json.loads(line) for line in file.read_text().splitlines()]


def _generation(folder: Path) -> str:
    (told,) = _read(folder)
    memory, resumes = told["memory"], "byte for byte" if told["resume_identical"] else "OTHERWISE"
    peak = "not told" if memory["peak"] is None else f"{memory['peak'] / 2**30:.1f} GiB"
    return (
        f"{told['seconds']['generation']:.3g} s, {told['tokens_per_second']:,.0f} trie tokens/s, "
        f"{told['share_of_ceiling']:.0%} of the ceiling, chunk {told['chunk']}, peak {peak} "
        f"(predicted {memory['predicted'] / 2**30:.1f}), ask, tell, checkpoint and host "
        f"{told['overhead_share']:.1%}, resumes {resumes}"
    )


def _settings(folder: Path) -> str:
    """Return the candidates/s of each setting, over those of the first."""
    told = _read(folder)
    first = next((each["candidates_per_second"] for each in told if "error" not in each), None)
    words = []
    for each in told:
        name = ", ".join(map(str, each["swept"].values()))
        if "error" in each:
            words.append(f"{name}: {each['error']}")
        else:
            rate = each["candidates_per_second"]
            words.append(f"{name}: {rate:.4g}/s ({rate / first:.2f})")
    return "; ".join(words)


def _passed(folder: Path) -> str:
    return (folder / "output.txt").read_text().strip().splitlines()[-1].strip("= ")


def run(row: Row, folder: Path, seconds: float) -> str:
    """Run one row and return its result in words."""
    folder.mkdir(parents=True)
    command = [sys.executable, *row.command]
    if "jaxalign.benchmark" in command:
        command.append(f"--output={folder}")
    with (folder / "output.txt").open("w") as output:
        try:
            code = subprocess.run(
                command,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=max(0.0, seconds),
            ).returncode
        except subprocess.TimeoutExpired:
            return f"not done after {max(0.0, seconds):.0f} s"
    return row.show(folder) if code == 0 else f"FAILED: {_passed(folder)}"


def main() -> int:
    """Run every row that there is time for; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    end = time.monotonic() + given.seconds
    lines, failed = ["| what | result | seconds |", "| --- | --- | --- |"], False
    left = rows(given.small)
    while left:
        row = left.pop(0)
        begun, shares = time.monotonic(), row.share + sum(each.share for each in left)
        result = run(
            row, given.output / row.name.replace(" ", "-"), (end - begun) * row.share / shares
        )
        failed |= result.startswith("FAILED")
        lines.append(f"| {row.name} | {result} | {time.monotonic() - begun:.0f} |")
        print(lines[-1], flush=True)
        (given.output / "checklist.md").write_text("\n".join(lines) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
