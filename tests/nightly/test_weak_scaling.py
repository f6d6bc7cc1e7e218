"""What a generation computes and sends on more and more devices, counted in compiled programs."""

import json
import os
import subprocess
import sys

import pytest
from paths import ROOT


@pytest.mark.nightly
@pytest.mark.parametrize(("model", "devices"), [(1, "1,4,16"), (8, "8,16")])
def test_counts_are_those_of_the_formulas(model, devices):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "weak_scaling.py"), f"--model={model}",
         f"--devices={devices}"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counted = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(counted) == len(devices.split(","))
    for each in counted:
        # Each device has its share of the products whatever the number of devices.
        assert each["flop"] == pytest.approx(each["flop by formula"], rel=1e-3)
        assert each["sent within"] == each["sent within by formula"]
        assert (each["sent within"] > 0) == (model > 1)
        # The best prompt and the losses, a row and a number for each candidate, come on top.
        extra = each["sent around"] - each["sent around by formula"]
        groups = each["devices"] // model
        assert 0 <= extra <= 2048 + 100 * groups
