"""The default run on the embedded model, for each of the four countries, from the command line."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["sa", "cn", "in", "us"])
def test_the_default_run_ends_at_a_fifth_of_naive(name, tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "jaxalign.train", f"--config={name}.py:embedded"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("without scientific") >= 2
    summary = json.loads((tmp_path / f"runs/{name}-embedded/summary.json").read_text())
    assert summary["country"] == name.upper()
    assert summary["loss"]["best"] <= summary["loss"]["naive"] / 5
    # The search may not start at the answer: no first candidate names the country.
    lines = (tmp_path / f"runs/{name}-embedded/metrics.jsonl").read_text().splitlines()
    assert summary["loss"]["best"] < json.loads(lines[0])["best_loss"]
