"""A whole run on a mesh: what 8-bit weights and a polish do there is what they do on one device."""

import json
import os
import subprocess
import sys

import pytest
from paths import ROOT
from random_models import EIGHT_HEADS, save_random

SETTINGS = {
    "prompt.length": 3,
    "search.population": 6,
    "search.generations": 3,
    "search.polish": 3,
    "objective.formats": "identity",
    "model.quantization": "int8",
}


@pytest.mark.nightly
def test_8_bits_and_a_polish_end_alike_on_a_mesh(tmp_path):
    save_random(tmp_path / "model", EIGHT_HEADS)
    found = []
    for population, model in ((1, 1), (2, 2)):
        workdir = tmp_path / f"{population}x{model}"
        settings = SETTINGS | {"mesh.population": population, "mesh.model": model}
        done = subprocess.run(
            [
                *(sys.executable, "-m", "jaxalign.train", "--config=sa.py:embedded"),
                *(f"--config.model.path={tmp_path / 'model'}", f"--workdir={workdir}"),
                *(f"--config.{key}={value}" for key, value in settings.items()),
            ],
            env=os.environ
            | {
                "JAX_PLATFORMS": "cpu",
                "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
                "PYTHONPATH": str(ROOT),
            },
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr
        assert ("candidates over 2 x weights over 2" in done.stdout) == (model > 1)
        summary = json.loads((workdir / "summary.json").read_text())
        found.append([*summary["loss"].values(), summary["polish"]["loss"]])
        assert summary["polish"]["loss"] < summary["loss"]["best"] < summary["loss"]["naive"]
    assert found[0] == pytest.approx(found[1], rel=1e-5)
