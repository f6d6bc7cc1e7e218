"""gpu_vm.sh on this machine and, by a stand-in for ssh, on another; worker.sh does the work."""

import os
import signal
import subprocess

import pytest
from waiting import wait_for

# The other machine is a folder; installing is only recorded.
SSH = r"""
printf '%s\n' "$1: $2" >>"$HOME/calls"
[ ! -e "$HOME/unreachable" ] || exit 255
mkdir -p "$HOME/far"
cd "$HOME/far"
[[ $2 != *"worker.sh install"* ]] || exit 0
HOME=$PWD bash -c "$2" || exit
[[ $2 != *"tar -x"* ]] || { mkdir -p jaxalign/.venv && cp -r "$VENV_BIN" jaxalign/.venv; }
"""


@pytest.fixture
def machine(checkout):
    checkout.program("nvidia-smi", 'echo "GPU 0: a stand-in"')
    checkout.program("ssh", SSH)
    # .venv counts as installed: it has the stamp of this pyproject.toml, Python and folder.
    script = "ROOT=$PWD VENV_PYTHON=$PWD/.venv/bin/python; . launch/common.sh; . launch/setup.sh; "
    script += "fingerprint >.venv/.jaxalign-cuda"
    subprocess.run(["bash", "-c", script], cwd=checkout.root, check=True)
    checkout.environment["VENV_BIN"] = str(checkout.root / ".venv" / "bin")
    checkout.calls = lambda: (checkout.bin.parent / "calls").read_text().splitlines()
    return checkout


def test_a_run_on_this_machine_is_followed_to_its_end(machine, steps):
    workdir = steps("crash", "token", "one-too-many")
    flags = ("--gpus=0,1", "--", "--config=sa.py", "--workdir=runs/a")
    status, output = machine.call("gpu_vm.sh", *flags, HF_TOKEN="secret")
    assert status == 0, output
    assert "train crash" in output and "train token" in output
    assert (workdir / "token").read_text() == "secret\n"


def test_a_run_outlives_its_terminal_and_is_neither_started_twice_nor_lost(machine, steps):
    workdir = steps("wait", "one-too-many")
    first = machine.start("gpu_vm.sh", "--", "--workdir=runs/a")
    wait_for(workdir / "waiting")
    os.killpg(first.pid, signal.SIGHUP)
    first.communicate(timeout=120)
    assert machine.call("worker.sh", "is-running", "--workdir=runs/a")[0] == 0

    second = machine.start("gpu_vm.sh", "--", "--workdir=runs/a")
    said = [line for line in iter(second.stdout.readline, "train wait\n") if "going on" in line]
    assert said == ["worker.sh: this run is going on already\n"]
    assert machine.call("gpu_vm.sh", "--stop", "--", "--workdir=runs/a")[0] == 0
    second.communicate(timeout=120)
    assert second.returncode == 75
    assert (workdir / "signals").read_text() == "wait TERM\n"
    assert machine.call("worker.sh", "is-running", "--workdir=runs/a")[0] == 1
    assert machine.call("gpu_vm.sh", "--stop", "--", "--workdir=runs/a")[0] == 0  # nothing to stop
    assert (workdir / "steps").read_text() == "one-too-many\n"


def test_another_machine_gets_the_checkout_and_the_secrets(machine, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "steps").write_text("token\n")
    (machine.root / "runs").mkdir()
    (machine.root / "runs" / "large").touch()
    flags = ("--host=u@h", "--gpus=1", "--", "--config=sa.py", f"--workdir={workdir}")
    status, output = machine.call("gpu_vm.sh", *flags, HF_TOKEN="it's secret")
    assert status == 0, output
    assert machine.calls() == [
        f"u@h: cd jaxalign && launch/worker.sh is-running --workdir={workdir}",
        "u@h: mkdir -p jaxalign && tar -xzC jaxalign",
        "u@h: cd jaxalign && nvidia-smi --list-gpus",
        "u@h: cd jaxalign && launch/worker.sh install cuda",
        "u@h: cd jaxalign && env CUDA_VISIBLE_DEVICES=1 launch/worker.sh start --config=sa.py "
        f"--workdir={workdir}",
        f"u@h: cd jaxalign && launch/worker.sh follow --workdir={workdir}",
    ]
    assert (workdir / "token").read_text() == "it's secret\n"
    far = machine.bin.parent / "far" / "jaxalign"
    assert (far / "launch" / ".secrets").stat().st_mode & 0o777 == 0o600
    assert (far / "pyproject.toml").exists() and not (far / "runs" / "large").exists()


def test_the_status_is_that_of_the_run(machine, steps):
    steps("mistake")
    assert machine.call("gpu_vm.sh", "--", "--workdir=runs/a")[0] == 2


def test_a_machine_that_cannot_be_reached_is_told_and_no_secret_stays(machine, tmp_path):
    (machine.bin.parent / "unreachable").touch()
    (tmp_path / "temporary").mkdir()
    flags = ("--host=u@h", "--", "--workdir=/data/a")
    environment = {"HF_TOKEN": "secret", "TMPDIR": str(tmp_path / "temporary")}
    status, output = machine.call("gpu_vm.sh", *flags, **environment)
    assert (status, output) == (1, "error: u@h: cannot bring the checkout there (status 255)\n")
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--config=sa.py",), "--config=sa.py: not a flag of gpu_vm.sh"),
        ((), "nothing: not a flag of gpu_vm.sh; those of the run stand after --"),
        (("--", "--config=sa.py"), "no --workdir=DIR among the flags"),
        (("--", "--workdir=a"), "no NVIDIA driver answers there"),
    ],
)
def test_a_mistake_is_one_line(machine, flags, message):
    machine.program("nvidia-smi", "exit 9")
    status, output = machine.call("gpu_vm.sh", *flags)
    assert status == 2
    assert output.startswith(f"error: {message}") and output.count("\n") == 1


def test_an_old_python_is_replaced_by_one_that_uv_brings(checkout):
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14", "python"):
        checkout.program(
            name,
            """
            [ "$1" = -c ] && exit 1  # too old
            quoted python3 "$@" >>"$HOME/calls"
            [ "$*" != "-m uv python find 3.12" ] || echo "$HOME/uv/python"
        """,
        )
    checkout.program("../uv/python", 'quoted new "$@" >>"$HOME/calls"; [ "$1" != -m ]')
    status, _ = checkout.call("worker.sh", "install", "tpu")
    assert status != 0  # this stand-in makes no .venv
    assert (checkout.bin.parent / "calls").read_text().splitlines()[:3] == [
        "python3 -m pip install --quiet --user uv",
        "python3 -m uv python install --quiet 3.12",
        "python3 -m uv python find 3.12",
    ]
    assert (
        f"new -m venv --clear {checkout.root}/.venv" in (checkout.bin.parent / "calls").read_text()
    )
