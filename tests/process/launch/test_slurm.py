"""slurm.sbatch queues a run again when it should, with stand-ins for SLURM's commands."""

import os
import signal

import pytest
from waiting import wait_for

SRUN = """
trap 'echo "srun was signalled" >>"$HOME/calls"' TERM
quoted srun "$1" >>"$HOME/calls"
"${@:2}" &
echo $! >"$HOME/task"
wait $!
"""
SCANCEL = 'quoted scancel "$@" >>"$HOME/calls"; kill -s TERM "$(cat "$HOME/task")"'
STARTED = "srun --kill-on-bad-exit=1"
QUEUED = "scontrol requeue 42"
TOLD = "scancel --signal=TERM 42"


@pytest.fixture
def slurm(checkout):
    checkout.program("srun", SRUN)
    checkout.program("scancel", SCANCEL)
    checkout.program("scontrol", 'quoted scontrol "$@" >>"$HOME/calls"')
    checkout.environment |= {"SLURM_JOB_ID": "42", "SLURM_SUBMIT_DIR": str(checkout.root)}
    # SLURM runs a copy from a folder of its own.
    spooled = checkout.bin / "slurm_script"
    spooled.write_text((checkout.root / "launch" / "slurm.sbatch").read_text())
    checkout.job = lambda *flags: checkout.start(f"../../bin/{spooled.name}", *flags)
    checkout.calls = lambda: (checkout.bin.parent / "calls").read_text().splitlines()
    return checkout


@pytest.mark.parametrize(
    ("step", "status", "calls"),
    [
        ("done", 0, [STARTED]),
        ("mistake", 2, [STARTED]),
        ("crash", 1, [STARTED]),  # not one generation: it would only crash again
        ("step-and-crash", 0, [STARTED, QUEUED]),
        ("stopped", 75, [STARTED]),  # preempted: SLURM itself queues it again
        ("older", 75, [STARTED]),
    ],
)
def test_a_job_is_queued_again_only_if_that_helps(slurm, steps, step, status, calls):
    steps(step)
    job = slurm.job("--workdir=runs/a")
    output, _ = job.communicate(timeout=120)
    assert job.returncode == status, output
    assert slurm.calls() == calls


def test_before_the_time_limit_the_run_is_stopped_and_queued_again(slurm, steps):
    workdir = steps("wait")
    job = slurm.job("--workdir=runs/a")
    wait_for(workdir / "waiting")
    os.kill(job.pid, signal.SIGUSR1)  # #SBATCH --signal=B:USR1@180
    job.communicate(timeout=120)
    assert job.returncode == 0
    assert (workdir / "signals").read_text() == "wait TERM\n"
    assert slurm.calls() == [STARTED, TOLD, QUEUED]


def test_a_cancelled_job_waits_for_its_run_and_is_not_queued_again(slurm, steps):
    workdir = steps("wait")
    job = slurm.job("--workdir=runs/a")
    wait_for(workdir / "waiting")
    job.terminate()  # scancel ends the tasks and this script
    os.kill(int((slurm.bin.parent / "task").read_text()), signal.SIGTERM)
    job.communicate(timeout=120)
    assert job.returncode == 75
    assert (workdir / "signals").read_text() == "wait TERM\n"
    assert slurm.calls() == [STARTED]


def test_the_directives_ask_for_what_the_script_relies_on(checkout):
    lines = (checkout.root / "launch" / "slurm.sbatch").read_text().splitlines()
    directives = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
    assert {"--requeue", "--signal=B:USR1@180", "--open-mode=append"} <= set(directives)
    # SLURM reads no directive after the first command.
    assert lines[1 : 1 + len(directives)] == [f"#SBATCH {flag}" for flag in directives]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "no --workdir=DIR among the flags"),
        (("--workdir=a",), "no CHECKOUT/.venv: run ./launch/worker.sh install cuda first"),
    ],
)
def test_a_mistake_is_one_line(checkout, flags, message):
    (checkout.root / ".venv" / "bin" / "python").unlink()
    status, output = checkout.call("slurm.sbatch", *flags)
    assert status == 2
    assert output.startswith(f"error: {message}") and output.count("\n") == 1
