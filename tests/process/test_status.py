"""The list of runs: states told from locks and heartbeats, figures from the files of a workdir."""

import io
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from jaxalign import status
from jaxalign.errors import UserError
from jaxalign.report import print_runs
from jaxalign.run.heartbeat import hold

NOW = time.time()
HERE, ELSEWHERE = socket.gethostname(), "another-host"


def make_run(folder: Path, generation: int = 7, beat: dict | None = None) -> Path:
    """A workdir after so many generations of 8 candidates in .25 s, of 40 in all."""
    folder.mkdir(parents=True)
    search = {"strategy": "LSHADE", "generations": 40}
    config = {"country": "SA", "model": {"path": "/models/llama"}, "search": search}
    record = {"config": config, "naive_loss": 100.0, "notice": "synthetic"}
    (folder / "config.json").write_text(json.dumps(record))
    lines = []
    for number in range(generation + 1):
        loss = 50.0 - number
        lines.append({"generation": number, "evaluations": 8 * (number + 1), "best_loss": loss})
        # The first one compiles; a run that goes on does not know how long its last one took.
        lines[-1]["seconds"] = 60.0 if number == 0 else None if number == 3 else 0.25
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if beat is not None:
        defaults = {"state": "running", "generation": generation, "generations": 40, "pid": 1}
        defaults |= {"time": NOW - 5, "patience": 60.0, "host": HERE}
        (folder / "heartbeat.json").write_text(json.dumps(defaults | beat))
    return folder


def finish(folder: Path, best: float) -> None:
    loss = {"constant": 126.0, "naive": 100.0, "best": best}
    (folder / "summary.json").write_text(json.dumps({"loss": loss}))


def test_a_running_run(tmp_path):
    folder = make_run(tmp_path / "run", beat={})
    with hold(folder, "--workdir"):
        run = status.describe(folder, NOW)
    assert run == {
        "workdir": str(folder),
        "state": "running",
        "country": "SA",
        "model": "/models/llama",
        "strategy": "LSHADE",
        "generation": 7,
        "generations": 40,
        "early_end": None,
        "best_loss": 43.0,
        "naive_loss": 100.0,
        "share_of_naive": pytest.approx(0.43),
        "candidates_per_second": pytest.approx(32.0),
        "seconds_left": pytest.approx(33 * 0.25),
        "age": pytest.approx(5.0, abs=0.1),
        "pid": 1,
        "host": HERE,
        "notice": "synthetic",
    }


@pytest.mark.parametrize(
    ("beat", "held", "state"),
    [
        ({}, True, "running"),
        ({"state": "starting"}, True, "running"),
        ({"state": "finishing"}, True, "running"),
        ({"time": NOW - 61}, True, "stalled"),
        ({}, False, "dead"),  # this machine's lock tells at once
        ({"state": "starting"}, False, "dead"),
        ({"host": ELSEWHERE}, False, "running"),  # a lock that cannot be seen from here
        ({"host": ELSEWHERE, "time": NOW - 61}, False, "dead"),
        ({"state": "done"}, False, "done"),
        ({"state": "done", "time": NOW - 1e6}, False, "done"),
        ({"state": "stopped", "host": ELSEWHERE, "time": NOW - 1e6}, False, "stopped"),
        ({"state": "failed"}, False, "failed"),
        ({"state": "done"}, True, "running"),  # begun again
    ],
)
def test_the_state(tmp_path, beat, held, state):
    folder = make_run(tmp_path / "run", beat=beat)
    if held:
        with hold(folder, "--workdir"):
            run = status.describe(folder, NOW)
    else:
        run = status.describe(folder, NOW)
    assert run["state"] == state
    assert (run["seconds_left"] is not None) == (state in ("running", "stalled"))


def test_a_finished_run_tells_its_summary_and_only_then(tmp_path):
    folder = make_run(tmp_path / "run", 40, {"state": "done"})
    finish(folder, best=12.5)
    assert status.describe(folder, NOW)["best_loss"] == 12.5
    longer = make_run(tmp_path / "longer", 45, {"state": "stopped", "generations": 80})
    finish(longer, best=12.5)
    run = status.describe(longer, NOW)
    assert (run["best_loss"], run["generations"]) == (5.0, 80)


def test_runs_of_before_there_were_heartbeats(tmp_path):
    done, gone = make_run(tmp_path / "done"), make_run(tmp_path / "gone")
    finish(done, best=1.0)
    assert status.describe(done, NOW)["state"] == "done"
    assert status.describe(gone, NOW)["state"] == "dead"
    assert status.describe(gone, time.time() + 30)["age"] == pytest.approx(30, abs=20)


def test_a_run_that_has_only_begun_and_damaged_files(tmp_path):
    begun, damaged = tmp_path / "begun", make_run(tmp_path / "damaged", beat={})
    begun.mkdir()
    (begun / "heartbeat.json").write_text('{"state": "starting", "generations": 40}')
    for name in ("config.json", "heartbeat.json"):
        (damaged / name).write_text('{"cut')
    with (damaged / "metrics.jsonl").open("a") as file:
        file.write('{"generation": 8, "eval')
    for run in (status.describe(begun, NOW), status.describe(damaged, NOW)):
        assert run["state"] == "dead" and run["country"] is None
    assert status.describe(damaged, NOW)["generation"] == 7
    status.show([tmp_path])


def test_of_long_metrics_the_end_is_read(tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", 40, {})
    whole = status.describe(folder, NOW)
    monkeypatch.setattr(status, "_TAIL", (folder / "metrics.jsonl").stat().st_size // 2)
    assert status.describe(folder, NOW) == whole


def test_folders_are_searched_and_each_run_told_once(tmp_path):
    runs = [make_run(tmp_path / name) for name in ("a", "b")]
    make_run(runs[0] / "countries" / "SA")  # a part of its run
    (tmp_path / "notes.txt").write_text("")
    assert status.find_workdirs([tmp_path, runs[0]]) == (runs, [])


def test_mistakes_are_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for arguments, words in (
        ([tmp_path / "nowhere"], "nowhere"),
        ([tmp_path / "file"], "file"),
        ([tmp_path], "workdir"),
    ):
        with pytest.raises(UserError, match=words):
            status.show(arguments)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_table_fits_its_terminal(tmp_path, width):
    runs = [status.describe(make_run(tmp_path / name, beat={}), NOW) for name in ("sa", "us")]
    for run in runs:
        run["workdir"] = f"runs/{Path(run['workdir']).name}-llama"
    out = io.StringIO()
    print_runs(runs, console=Console(file=out, width=width, highlight=False))
    (line,) = (line for line in out.getvalue().splitlines() if "runs/sa-llama" in line)
    assert len(line) <= width
    assert ["dead", "7/40", "43.0", "43%"] == [x for x in line.split() if x[0] in "d74"]
    assert ("LSHADE" in line) == (width == 120)


def invoke(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "jaxalign.status", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command(tmp_path):
    make_run(tmp_path / "one", beat={"state": "done"})
    make_run(tmp_path / "two", beat={"host": ELSEWHERE, "time": time.time()})
    table = invoke(tmp_path)
    assert table.returncode == 0 and table.stderr == ""
    one, two = (line.split() for line in table.stdout.splitlines() if str(tmp_path) in line)
    figures = ["SA", "llama", "LSHADE", "7/40", "43.0", "43%", "32.0"]
    assert one[:10] == [str(tmp_path / "one"), "done", *figures, "–"]
    assert two[:10] == [str(tmp_path / "two"), "running", *figures, "0:08"]
    assert table.stdout.count("synthetic") == 1
    listed = invoke(tmp_path, "--json")
    assert [run["state"] for run in json.loads(listed.stdout)] == ["done", "running"]
    refused = invoke(tmp_path / "nowhere")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.count("\n") == 1 and refused.stderr.startswith("error: ")


def test_a_folder_that_is_none_hides_no_other(tmp_path):
    make_run(tmp_path / "one", beat={"state": "done"})
    (tmp_path / "empty").mkdir()
    told = invoke(tmp_path / "nowhere", tmp_path, tmp_path / "empty", "--json")
    assert [run["state"] for run in json.loads(told.stdout)] == ["done"]
    assert told.returncode == 2 and told.stderr.count("\n") == 1
    assert "nowhere: cannot be listed (No such file" in told.stderr and "empty: nei" in told.stderr


def test_the_command_does_without_jax():
    program = "import sys, jaxalign.status; print('jax' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert told.stdout == "False\n"
