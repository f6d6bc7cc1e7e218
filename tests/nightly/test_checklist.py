"""The accelerator checklist, rehearsed on a CPU."""

import os
import subprocess
import sys

import pytest
from paths import ROOT

pytestmark = pytest.mark.nightly


def test_every_row_has_a_result(tmp_path):
    folder = tmp_path / "list"
    result = subprocess.run(
        [sys.executable, "tests/support/checklist.py", "--small", f"--output={folder}"],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=650,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    _, _, *rows = (folder / "checklist.md").read_text().splitlines()
    told = {name.strip(): words for _, name, words, *_ in (row.split("|") for row in rows)}
    assert told.keys() == {"a generation", "8 bits", "kernels agree", "attentions", "chunks"}
    assert "byte for byte" in told["a generation"] and "of the ceiling" in told["a generation"]
    assert "none: " in told["8 bits"] and "int8: " in told["8 bits"] and "/s (" in told["8 bits"]
    assert "passed" in told["kernels agree"] and "failed" not in told["kernels agree"]
    assert "xla: " in told["attentions"] and "8: " in told["chunks"]


def test_what_takes_too_long_is_told_and_the_rest_still_runs(tmp_path):
    command = [sys.executable, "tests/support/checklist.py", "--small", "--seconds=1"]
    result = subprocess.run(
        [*command, f"--output={tmp_path / 'list'}"],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    rows = (tmp_path / "list" / "checklist.md").read_text().splitlines()[2:]
    assert len(rows) == 5 and all("not done after" in row for row in rows)
