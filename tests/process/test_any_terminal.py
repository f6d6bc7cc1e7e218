"""Commands on terminals that cannot show everything, and the list of commands."""

import os
import subprocess
import sys

import pytest
from tiers import every

import jaxalign.__main__ as listing


def invoke(*arguments, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_the_terminal_cannot_show_is_replaced(tmp_path, encoding):
    folder = tmp_path / "السعودية"
    folder.mkdir()
    (folder / "heartbeat.json").write_text("{}")
    told = invoke("-m", "jaxalign.status", tmp_path, PYTHONIOENCODING=encoding, COLUMNS="300")
    assert told.returncode == 0, told.stderr
    assert "?" * 8 in told.stdout.decode(encoding)
    refused = invoke("-m", "jaxalign.status", f"{folder}؟", PYTHONIOENCODING=encoding)
    assert refused.returncode == 2 and refused.stderr.count(b"\n") == 1
    assert "?" * 8 in refused.stderr.decode(encoding)


def test_the_package_lists_its_commands():
    told = invoke("-m", "jaxalign")
    lines = told.stdout.decode().splitlines()
    assert told.returncode == 0 and told.stderr == b""
    for name, line in zip(listing.COMMANDS, lines, strict=False):
        command, purpose = line.split(maxsplit=3)[2:]
        assert command == f"jaxalign.{name}" and purpose.endswith(".")
    meant = invoke("-m", "jaxalign", "train", "--config=sa.py")
    assert meant.returncode == 2 and b"give python -m jaxalign.train" in meant.stderr


@pytest.mark.parametrize("name", every(listing.COMMANDS, "make_embedded"))
def test_asking_for_help_is_no_mistake(name):
    told = invoke("-m", f"jaxalign.{name}", "--help")
    assert told.returncode == 0, told.stderr
    assert told.stdout.count(b"\n") > 10


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("http://host/x", b"must be a folder of this machine"),
        (f"{__file__}/x", b"cannot write there (Not a directory)"),
    ],
)
def test_an_output_of_the_training_that_cannot_be_is_told_before_it(output, said):
    told = invoke("-m", "jaxalign.make_embedded", f"--output={output}")
    assert told.returncode == 2 and told.stderr.count(b"\n") == 1, told.stderr
    assert said in told.stderr


FULL_OR_CLOSED = """
from jaxalign import cli
def main(_):
    for line in range(100_000):
        print("a line that somebody reads", line)
cli.run(main)
"""


@pytest.mark.parametrize("output", ["closed", "full"])
def test_a_pipe_that_is_closed_and_a_disk_that_is_full(output):
    reading, writing = os.pipe()
    os.close(reading)
    out = writing if output == "closed" else os.open("/dev/full", os.O_WRONLY)
    told = subprocess.run(
        [sys.executable, "-c", FULL_OR_CLOSED],
        stdout=out,
        stderr=subprocess.PIPE,
        check=False,
    )
    said = b"was closed" if output == "closed" else b"standard output, or a file: No space left"
    assert told.returncode == 2 and told.stderr.count(b"\n") == 1, told.stderr
    assert said in told.stderr


MASKED = """
from jaxalign import cli
from jaxalign.errors import UserError
def main(_):
    try:
        raise UserError("the first cause")
    finally:
        raise RuntimeError("a second fault, in cleaning up")
cli.run(main)
"""


def test_of_several_faults_the_first_that_is_the_users_is_told():
    told = invoke("-c", MASKED)
    assert (told.returncode, told.stderr) == (2, b"error: the first cause\n")
