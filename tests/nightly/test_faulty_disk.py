"""A disk that fails at any write of a run: one line, nothing beside it, and a resumed run that ends
with the same bytes."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from paths import ROOT

SUPPORT = ROOT / "tests" / "support"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if not (compiler := shutil.which("cc")) or sys.platform != "linux":
        pytest.skip("the disk is a C library that Linux preloads")
    file = tmp_path_factory.mktemp("library") / "faulty_disk.so"
    command = [compiler, "-shared", "-fPIC", "-o", file, SUPPORT / "faulty_disk.c", "-ldl"]
    subprocess.run(command, check=True)
    return file


@pytest.mark.parametrize(
    ("error", "lasting"), [("ENOSPC", 1), ("EROFS", 1), ("EIO", 0), ("ENOSPC", 0)]
)
def test_a_disk_that_fails_at_any_call(library, tmp_path, error, lasting):
    done = subprocess.run(
        [sys.executable, SUPPORT / "faulty_run.py", library, error, str(lasting), "3", tmp_path],
        env=os.environ | {"LD_PRELOAD": str(library), "PYTHONPATH": f"{ROOT}:{SUPPORT}"},
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 15
    for one in found:
        # What only clears away may fail without a word; everything else is a mistake of one line.
        assert one["told"] == "" or one["told"].startswith("UserError: "), one
        assert "\n" not in one["told"] and one["noise"] == "", one
        assert one["same"] is True, one
    assert sum(one["told"] != "" for one in found) > 10
