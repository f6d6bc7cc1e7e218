"""`python -m jaxalign.train` on the tiny model in processes of its own, and what it leaves."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ENVIRONMENT = os.environ | {"JAX_PLATFORMS": "cpu", "COLUMNS": "200"}


def command(folder: Path, workdir: Path, *flags: str) -> list[str]:
    settings = {
        "model.path": folder,
        "prompt.length": 3,
        "search.strategy": "DifferentialEvolution",  # its generations do not depend on their number
        "search.population": 6,
        "evaluation.chunk": 3,
        "objective.formats": "identity",
        "search.generations": 12,
    }
    return [
        sys.executable,
        *("-m", "jaxalign.train", "--config=sa.py:embedded", f"--workdir={workdir}"),
        *(f"--config.{key}={value}" for key, value in settings.items()),
        *flags,
    ]


def run(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, env=ENVIRONMENT, timeout=300
    )


def begin(*arguments) -> subprocess.Popen:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command(*arguments), stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT
    )


def records(workdir: Path) -> list[dict]:
    """metrics.jsonl without its timings."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    timings = ("seconds", "tokens_per_second")
    return [{k: v for k, v in json.loads(line).items() if k not in timings} for line in lines]


def ending(workdir: Path) -> tuple[bytes, dict, list[dict]]:
    """All that a run ends with, apart from timings and its own path."""
    summary = json.loads((workdir / "summary.json").read_text())
    for key in ("seconds", "tokens_per_second"):
        del summary[key]
    return (workdir / "soft_prompt.safetensors").read_bytes(), summary, records(workdir)


def wait_for_generation(process: subprocess.Popen, workdir: Path, generation: int) -> None:
    path = workdir / "metrics.jsonl"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if path.exists() and len(path.read_text().splitlines()) > generation:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("the run made no progress")


def assert_refused(result: subprocess.CompletedProcess, *words: str) -> None:
    """One clear line on standard error, exit code 2, no traceback."""
    assert result.returncode == 2, result.stdout + result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    assert all(word in lines[0] for word in words), lines[0]


def invoke(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "jaxalign.train", *arguments],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=cwd,
        timeout=100,
    )


EMBEDDED = "--config=sa.py:embedded"
