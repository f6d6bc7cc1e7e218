"""A copy of the launch folder, stand-ins for the programs of a cloud, and a run of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from paths import ROOT

# Stands in for `python -m jaxalign.train …`: each call takes the next word of the file `steps` and
# does what it says, as far as the scripts can see.
TRAIN = r"""
[ "$1" = -m ] || exec PYTHON "$@"
workdir=$(at_home "$(value_of workdir "$@")")
mkdir -p "$workdir"
step=$(sed -n 1p "$workdir/steps")
sed -i 1d "$workdir/steps"
echo "train $step"
record() { echo '{"config": {"search": {"generations": 3}}}' >"$workdir/config.json"; }
summary() { echo "{\"generations\": $1}" >"$workdir/summary.json"; }
trap 'echo "$step TERM" >>"$workdir/signals"; exit 0' TERM
trap 'echo "$step INT" >>"$workdir/signals"; exit 0' INT
case $step in
  done) record && summary 3 ;;
  older) record && summary 2 ;; # stopped; the summary is of before the run was lengthened
  stopped) record ;;
  crash) exit 1 ;;
  step-and-crash) echo '{}' >>"$workdir/metrics.jsonl" && exit 1 ;;
  mistake) exit 2 ;;
  wait) echo here >"$workdir/waiting" && for _ in {1..1200}; do sleep 0.1; done; exit 3 ;;
  patient) # takes its time to stop, and would tell of a second signal
    trap 'echo "$step TERM" >>"$workdir/signals"; stopping=1' TERM
    echo here >"$workdir/waiting"
    until [ -n "${stopping:-}" ]; do sleep 0.1; done
    for _ in {1..10}; do sleep 0.1; done
    ;;
  token) echo "${HF_TOKEN:-none}" >"$workdir/token" && record && summary 3 ;;
esac
"""


class Checkout:
    """A copy of the launch folder in which commands are called, with a PATH of its own."""

    def __init__(self, folder: Path):
        self.root = folder / "checkout"
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        shutil.copytree(ROOT / "launch", self.root / "launch")
        shutil.copy(ROOT / "pyproject.toml", self.root)
        self.environment = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(folder),
            "JAXALIGN_PAUSE": "0",
        }
        self.program(".venv/bin/python", TRAIN.replace("PYTHON", sys.executable, 1))

    def program(self, path: str, body: str) -> Path:
        """Writes an executable: in the checkout, or of the PATH when `path` has no folder."""
        file = self.root / path if "/" in path else self.bin / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/usr/bin/env bash\n. {self.root}/launch/common.sh\n{body}")
        file.chmod(0o755)
        return file

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Starts a script of launch/ in the checkout, in a session of its own."""
        return subprocess.Popen(
            ["bash", f"launch/{command[0]}", *command[1:]],
            cwd=self.root,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def call(self, *command: str, **environment: str) -> tuple[int, str]:
        """The status and the output of a script, in which CHECKOUT stands for the folder."""
        process = self.start(*command, **environment)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output.replace(str(self.root), "CHECKOUT")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def steps(checkout: Checkout) -> Callable[..., Path]:
    """Makes a workdir whose run goes through the words given, a call each."""

    def make(*words: str) -> Path:
        workdir = checkout.root / "runs" / "a"
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "steps").write_text("".join(f"{word}\n" for word in words))
        return workdir

    return make
