"""Ctrl-C is answered at once in every phase, and with one line."""

import os
import signal
import subprocess
import sys
import time

import pytest

# Work of minutes that looks for no signal, as compiling is: it never comes back to Python.
BUSY = "import hashlib; print('busy', flush=True); hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
STOPPED = "\nstopped; the same command goes on from what is saved\n"
ACKNOWLEDGED = "stopping after this step; again to stop now\n"


def begin(*arguments: str) -> subprocess.Popen:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *arguments], stdout=pipe, stderr=pipe, text=True)


def end(process: subprocess.Popen, seconds: float = 10) -> str:
    """What it tells after a signal, once it has ended soon after that."""
    sent = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - sent < seconds
    assert process.returncode == 130
    return errors


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_while_it_imports(command):
    process = begin("-X", "importtime", "-m", f"jaxalign.{command}", "--config=sa.py:embedded")
    assert any(line.split()[-1:] == ["numpy"] for line in process.stderr)  # far into them
    process.send_signal(signal.SIGINT)
    told = [line for line in end(process).splitlines(True) if not line.startswith("import time:")]
    assert "".join(told) == STOPPED


def test_while_it_compiles_the_first_is_acknowledged_and_the_second_ends_it():
    process = begin(
        "-c",
        "from jaxalign.errors import INTERRUPTS; INTERRUPTS.watch()\n"
        "from jaxalign.run.stopping import StopRequest\n"
        f"with StopRequest(): {BUSY}",
    )
    assert process.stdout.readline() == "busy\n"
    process.send_signal(signal.SIGTERM)
    assert process.stderr.readline() == ACKNOWLEDGED
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert end(process) == STOPPED


@pytest.mark.parametrize("work", [BUSY, "print('busy', flush=True); import time; time.sleep(600)"])
def test_what_takes_no_request_ends_at_the_first(work):
    process = begin(
        "-c",
        "from jaxalign.errors import INTERRUPTS; INTERRUPTS.watch()\n"
        f"from jaxalign.cli import run\ndef main(_): {work}\nrun(main)",
    )
    assert process.stdout.readline() == "busy\n"
    process.send_signal(signal.SIGINT)
    assert end(process) == STOPPED


def test_what_is_ignored_in_the_background_stays_ignored():
    program = (
        "import signal; from jaxalign.errors import INTERRUPTS; INTERRUPTS.watch(); "
        "print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN, INTERRUPTS.is_watching)"
    )
    told = subprocess.run(
        ["sh", "-c", 'trap \'\' INT; exec "$0" -c "$1"', sys.executable, program],
        capture_output=True,
        text=True,
    )
    assert told.stdout == "True False\n"


def test_a_program_that_imports_the_package_keeps_its_handlers():
    told = subprocess.run(
        [sys.executable, "-c", "import signal, jaxalign; print(signal.getsignal(2))"],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert "default_int_handler" in told.stdout
