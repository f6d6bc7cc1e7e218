"""Who holds a folder, and the file that tells supervisors how far its run is."""

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jaxalign.errors import UserError
from jaxalign.files import FORMAT
from jaxalign.run.heartbeat import Heartbeat, hold, is_held
from jaxalign.run.workdir import Workdir


def content(folder: Path) -> dict:
    return json.loads((folder / "heartbeat.json").read_text())


def test_a_folder_is_held_until_it_is_let_go(tmp_path):
    folder = tmp_path / "run"
    assert not is_held(folder)
    with hold(folder, "--workdir"):
        assert is_held(folder)
        assert is_held(folder)  # asking took nothing
        with pytest.raises(UserError, match="another run"), hold(folder, "--workdir"):
            pass
    assert not is_held(folder)


def test_a_bucket_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bucket = Path("gs://runs/sa")
    with pytest.raises(UserError, match="gs:"), hold(bucket, "--workdir"):
        pass
    assert not any(tmp_path.iterdir())


def test_a_process_that_is_killed_lets_go(tmp_path):
    program = (
        "import pathlib, sys, time; from jaxalign.run.heartbeat import hold;"
        "lock = hold(pathlib.Path(sys.argv[1]), ''); lock.__enter__();"
        "print('held', flush=True); time.sleep(100)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    assert is_held(tmp_path)
    process.kill()
    process.communicate()
    assert not is_held(tmp_path)


def test_asking_never_keeps_a_run_from_starting(tmp_path):
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            is_held(tmp_path)

    asks = threading.Thread(target=ask)
    asks.start()
    try:
        for _ in range(20):
            with hold(tmp_path, "--workdir"):
                pass
    finally:
        done.set()
        asks.join()


def test_a_beat_tells_who_where_when_and_how_far(tmp_path):
    before = time.time()
    Heartbeat(tmp_path, 40).beat("running", 7, seconds=30.0)
    beat = content(tmp_path)
    assert before - 0.01 <= beat.pop("time") <= time.time() + 0.01
    assert beat == {
        "format": FORMAT,
        "state": "running",
        "generation": 7,
        "generations": 40,
        "patience": 600.0,
        "pid": os.getpid(),
        "host": socket.gethostname(),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["heartbeat.json"]


def test_at_most_one_beat_a_second_but_each_new_state(tmp_path):
    heartbeat, written, begun = Heartbeat(tmp_path, 10**9), set(), time.monotonic()
    for generation in itertools.count():
        heartbeat.beat("running", generation, seconds=0.001)
        written.add(content(tmp_path)["generation"])
        if (passed := time.monotonic() - begun) > 1.2:
            break
    assert 0 in written and 2 <= len(written) <= 1 + passed < generation
    heartbeat.beat("finishing", generation)
    assert content(tmp_path)["state"] == "finishing"


def test_patience_grows_with_the_generations_and_is_never_short(tmp_path):
    for seconds, least in ((None, 300), (0.01, 30), (100.0, 1000)):
        Heartbeat(tmp_path, 4).beat("running", 1, seconds)
        assert content(tmp_path)["patience"] >= least


def test_a_start_that_fails_leaves_the_heartbeat_as_it_was(tmp_path):
    with pytest.raises(UserError), Workdir(tmp_path) as workdir:
        workdir.begin(9)
        assert content(tmp_path)["state"] == "starting"
        raise UserError("refused")
    assert not (tmp_path / "heartbeat.json").exists()
    with Workdir(tmp_path) as workdir:
        workdir.begin(9)
        workdir.write_state("done")
    before = (tmp_path / "heartbeat.json").read_bytes()
    with pytest.raises(UserError), Workdir(tmp_path) as workdir:
        workdir.begin(3)
        raise UserError("refused")
    assert (tmp_path / "heartbeat.json").read_bytes() == before


def test_an_error_in_a_run_is_told(tmp_path):
    record = {"generation": 4, "evaluations": 20, "best_loss": 1.0, "seconds": 0.1}
    with pytest.raises(ZeroDivisionError), Workdir(tmp_path) as workdir:
        workdir.begin(9)
        workdir.rewind_metrics(None)
        workdir.append_metrics(record)
        raise ZeroDivisionError
    assert content(tmp_path)["state"] == "failed"
    assert content(tmp_path)["generation"] == 4


def test_what_a_killed_writer_left_is_cleared_away(tmp_path):
    left = [tmp_path / ".summary.json.123.tmp", tmp_path / "report" / ".radar.png.123.tmp"]
    left[1].parent.mkdir()
    for path in left:
        path.write_text("half")
    (tmp_path / "report" / "radar.png").write_text("whole")
    with Workdir(tmp_path) as workdir:
        workdir.begin(9)
    assert not any(path.exists() for path in left)
    assert (tmp_path / "report" / "radar.png").exists()
