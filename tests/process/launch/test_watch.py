"""watch.sh restarts a run until it is done, and never one that is or that cannot be."""

import os
import signal
import subprocess
import sys

import pytest
from paths import ROOT
from waiting import wait_for

from jaxalign.files import write_json

RUN = (".venv/bin/python", "-m", "jaxalign.train", "--workdir=runs/a")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["done"], 0),
        (["crash", "crash", "done"], 0),
        (["stopped", "done"], 0),  # exit 0, but no summary.json: preempted
        (["older", "done"], 0),  # exit 0 and a summary.json, but of fewer generations
        (["mistake"], 2),
        (["crash", "mistake"], 2),
        (["crash"] * 3, 1),
        (["step-and-crash"] * 5 + ["done"], 0),  # new generations: each is a new beginning
        (["step-and-crash"] * 2 + ["crash"] * 2, 1),
    ],
)
def test_the_run_is_called_until_it_is_done(checkout, steps, words, status):
    workdir = steps(*words, "one-too-many")
    ended, output = checkout.call("watch.sh", "--tries=3", *RUN)
    assert ended == status
    assert [line[6:] for line in output.splitlines() if line.startswith("train ")] == words
    assert (workdir / "steps").read_text() == "one-too-many\n"
    assert ("given up: 3 tries" in output) == (status == 1)


def test_the_pause_doubles_and_a_generation_sets_it_back(checkout, steps):
    steps("crash", "crash", "crash", "step-and-crash", "crash", "done")
    checkout.program("sleep", "")
    status, output = checkout.call("watch.sh", *RUN, JAXALIGN_PAUSE="100")
    assert status == 0
    pauses = [line.split()[-2] for line in output.splitlines() if line.startswith("watch.sh:")]
    assert pauses == ["100", "200", "300", "100", "200"]


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_a_signal_reaches_the_run_once_and_ends_the_watch(checkout, steps, name):
    workdir = steps("wait", "one-too-many")
    process = checkout.start("watch.sh", *RUN)
    wait_for(workdir / "waiting")
    # Ctrl-C on a terminal goes to all of the watch's process group, SIGTERM to it alone.
    (os.killpg if name == "INT" else os.kill)(process.pid, getattr(signal, f"SIG{name}"))
    process.communicate(timeout=120)
    assert process.returncode == 75
    assert (workdir / "signals").read_text() == f"wait {name}\n"
    assert (workdir / "steps").read_text() == "one-too-many\n"


def test_sigterm_that_comes_twice_reaches_the_run_once(checkout, steps):
    workdir = steps("patient")
    process = checkout.start("watch.sh", *RUN)
    wait_for(workdir / "waiting")
    process.terminate()
    wait_for(workdir / "signals")
    process.terminate()
    process.communicate(timeout=120)
    assert process.returncode == 75
    assert (workdir / "signals").read_text() == "patient TERM\n"


def test_a_signal_between_two_tries_ends_the_watch(checkout, steps):
    workdir = steps("crash", "one-too-many")
    process = checkout.start("watch.sh", *RUN, JAXALIGN_PAUSE="60")
    for line in process.stdout:
        if line.startswith("watch.sh:"):
            break
    process.terminate()
    process.communicate(timeout=120)
    assert process.returncode == 75
    assert (workdir / "steps").read_text() == "one-too-many\n"


@pytest.mark.parametrize(
    ("statuses", "ended"), [("75 75 0", 0), ("75 1", 1), ("2", 2), ("75 0", 0)]
)
def test_a_remote_command_tells_itself_whether_to_call_it_again(checkout, statuses, ended):
    (checkout.root / "statuses").write_text(statuses.replace(" ", "\n") + "\n")
    checkout.program(
        "launch/far.sh", 'read -r status <statuses; sed -i 1d statuses; exit "$status"'
    )
    assert checkout.call("watch.sh", "--remote", "launch/far.sh")[0] == ended
    assert (checkout.root / "statuses").read_text() == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no command to run"),
        (("--retries=3", *RUN), "--retries=3: no such flag"),
        (("--tries=0", *RUN), "--tries=0: give a whole number of at least 1"),
        (("no-such-command", "--workdir=a"), "no-such-command: no such command"),
        ((RUN[0], "-m", "jaxalign.train"), "no --workdir=DIR among the flags"),
    ],
)
def test_a_mistake_is_one_line(checkout, arguments, message):
    status, output = checkout.call("watch.sh", *arguments)
    assert status == 2
    assert output.startswith(f"error: {message}") and output.count("\n") == 1


def test_done_is_read_from_files_as_the_program_writes_them(checkout, tmp_path):
    limits = {"stop_loss": 0.005, "patience": 0}

    def is_done(summary: int, asked: int, **early) -> bool:
        write_json(tmp_path / "summary.json", {"country": "SA", "generations": summary} | early)
        search = {"generations": asked} | limits
        write_json(tmp_path / "config.json", {"config": {"search": search}})
        script = f"ROOT={tmp_path}; . {ROOT}/launch/common.sh; is_done {tmp_path}"
        return subprocess.run(["bash", "-c", script], check=False).returncode == 0

    assert is_done(150, 150)
    assert not is_done(150, 400)
    assert is_done(40, 150, early_end={"by": "stop_loss"} | limits)
    assert not is_done(40, 150, early_end={"by": "stop_loss"} | limits | {"stop_loss": 0.01})
    (tmp_path / "config.json").unlink()
    script = f"ROOT={tmp_path}; . {ROOT}/launch/common.sh; is_done {tmp_path}"
    assert subprocess.run(["bash", "-c", script], check=False).returncode != 0


@pytest.mark.nightly
def test_a_real_run_is_seen_to_be_done(tmp_path, tiny_folder):
    workdir = tmp_path / "run"
    command = [
        *(f"{ROOT}/launch/watch.sh", "--tries=1"),
        *(sys.executable, "-m", "jaxalign.train", "--config=sa.py:embedded"),
        *(f"--config.model.path={tiny_folder}", "--config.prompt.length=3"),
        *("--config.search.population=6", "--config.search.generations=1"),
        *("--config.search.strategy=DifferentialEvolution", f"--workdir={workdir}"),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        command, env=environment, timeout=600, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert (workdir / "summary.json").exists()


def test_a_workdir_in_the_home_is_seen_to_be_done(checkout, steps):
    workdir = steps("crash", "done", "one-too-many")
    home = str(checkout.root / workdir.parent)
    status, _ = checkout.call("watch.sh", *RUN[:3], f"--workdir=~/{workdir.name}", HOME=home)
    assert status == 0 and (workdir / "steps").read_text() == "one-too-many\n"
