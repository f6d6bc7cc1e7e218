"""Compiled programs on disk: used, bounded, mended, refused, and without influence on a result."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from train_command import (
    EMBEDDED,
    ENVIRONMENT,
    assert_refused,
    begin,
    ending,
    invoke,
    run,
    wait_for_generation,
)

from jaxalign.devices.compile_cache import _prune, default_folder

BARE = {key: value for key, value in ENVIRONMENT.items() if "CACHE" not in key}
PROGRAM = """
import logging, sys
import jax, jax.numpy as jnp
jnp.ones(2) + 1  # compiled before, as evosax does at its import
from jaxalign.devices import compile_cache
from jaxalign.errors import UserError
logging.basicConfig(format="warning: %(message)s")
try:
    compile_cache.use(None if sys.argv[1] == "none" else sys.argv[1])
except UserError as error:
    sys.exit(f"error: {error}")
seen = {"hits": 0, "misses": 0}
def count(event, **_):
    for name in seen:
        seen[name] += event == f"/jax/compilation_cache/cache_{name}"
jax.monitoring.register_event_listener(count)
print(*jax.jit(lambda x: jnp.sin(x) @ x)(jnp.arange(9.0).reshape(3, 3)).ravel())
print(seen["hits"], seen["misses"])
"""


def compile_with(folder: Path | str, program: str = PROGRAM, **environment: str) -> tuple:
    """What a small program computes in a new process, its hits and misses, its standard error."""
    result = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        capture_output=True,
        text=True,
        env=BARE | environment,
        timeout=100,
    )
    values, _, counts = result.stdout.strip().partition("\n")
    return values, tuple(map(int, counts.split())), result.stderr


def entries(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*-cache")}


@pytest.fixture
def kept(tmp_path) -> tuple[Path, str, int]:
    """A folder with what one process compiled, what that computed, and how many programs."""
    folder = tmp_path / "new" / "folder"
    values, (hits, misses), errors = compile_with(folder)
    assert hits == 0 and misses == len(entries(folder)) > 0 and errors == ""
    return folder, values, misses


def test_another_process_compiles_nothing(kept):
    folder, values, programs = kept
    assert compile_with(folder) == (values, (programs, 0), "")


@pytest.mark.parametrize("size", [0, 100])
def test_a_file_cut_short_costs_a_compilation(kept, size):
    folder, values, programs = kept
    for path in folder.glob("*-cache"):
        os.truncate(path, size)
    assert compile_with(folder) == (values, (0, programs), "")


def test_flipped_bytes_are_noticed(kept):
    folder, values, programs = kept
    for path in folder.glob("*-cache"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    assert compile_with(folder) == (values, (0, programs), "")


def test_two_processes_at_once(tmp_path):
    """Both write the same programs; neither minds, and a third finds all of them whole."""
    start = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    pipe = subprocess.PIPE
    both = [subprocess.Popen(start, stdout=pipe, stderr=pipe, text=True, env=BARE) for _ in "12"]
    told = [process.communicate(timeout=100) for process in both]
    assert {errors for _, errors in told} == {""}
    values, (hits, misses), errors = compile_with(tmp_path)
    assert {output.partition("\n")[0] for output, _ in told} == {values}
    assert hits > 0 and misses == 0 and errors == ""


def test_the_folder_by_default(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, by the XDG specification
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache/jaxalign/xla"
    _, (_, misses), errors = compile_with("none", XDG_CACHE_HOME=str(tmp_path / "xdg"))
    folder = tmp_path / "xdg/jaxalign/xla"
    assert len(entries(folder)) == misses > 0 and errors == ""
    assert folder.stat().st_mode & 0o077 == 0  # whoever may write there may run code as this user


def test_without_a_folder_by_default_it_warns_and_goes_on():
    values, counts, errors = compile_with("none", XDG_CACHE_HOME="/proc/nothing")
    assert len(values.split()) == 9 and counts == (0, 0)
    assert errors.count("\n") == 1 and errors.startswith("warning: compiled programs are not kept")


@pytest.mark.nightly
def test_the_variable_of_jax_is_respected(tmp_path):
    named = tmp_path / "named"
    variable = {"JAX_COMPILATION_CACHE_DIR": str(named), "XDG_CACHE_HOME": str(tmp_path / "xdg")}
    _, (_, misses), _ = compile_with("none", **variable)
    assert len(entries(named)) == misses > 0
    flag = tmp_path / "flag"
    _, (_, misses), _ = compile_with(flag, **variable)
    assert len(entries(flag)) == misses > 0  # the flag comes first
    for off in ("", "none"):
        given = variable if off == "" else variable | {"JAX_COMPILATION_CACHE_DIR": ""}
        assert compile_with(off, **given)[1] == (0, 0)
    assert compile_with("none", **variable, JAX_ENABLE_COMPILATION_CACHE="0")[1] == (0, 0)
    assert not (tmp_path / "xdg").exists()
    *_, errors = compile_with("none", JAX_COMPILATION_CACHE_DIR="/proc/nothing")
    # Before the last line JAX may warn, of what was compiled before.
    assert errors.splitlines()[-1].startswith("error: JAX_COMPILATION_CACHE_DIR=/proc/nothing: ")


def test_the_longest_unused_go_first(tmp_path):
    for age, name in enumerate(("d", "c", "b", "a")):
        path = tmp_path / f"{name}-cache"
        path.write_bytes(bytes(10))
        os.utime(path, (10_000 - age, 10_000 - age))
    os.utime(tmp_path / "a-cache", (20_000, 1))  # written long ago, and read the last
    (tmp_path / "notes").write_bytes(bytes(1000))
    _prune(tmp_path, 25)
    assert {path.name for path in tmp_path.iterdir()} == {"a-cache", "d-cache", "notes"}


def test_a_folder_that_the_user_names_must_be_writable(tmp_path):
    (tmp_path / "file").touch()
    for folder in ("/proc/nothing", str(tmp_path / "file")):
        result = invoke(EMBEDDED, f"--compile_cache={folder}", cwd=tmp_path)
        assert_refused(result, f"--compile_cache={folder}", "give another")


@pytest.mark.nightly
def test_a_run_ends_alike_with_and_without_compiled_programs(tiny_folder, tmp_path):
    """Empty folder, filled folder, no folder; and killed on the one, resumed on the other."""
    folder, five = tmp_path / "compiled", "--config.search.generations=5"
    flags = [f"--compile_cache={folder}", f"--compile_cache={folder}", "--compile_cache="]
    endings = []
    for number, flag in enumerate(flags):
        result = run(tiny_folder, tmp_path / str(number), five, flag)
        assert result.returncode == 0 and result.stderr == "", result.stderr
        assert "start-up" in result.stdout
        endings.append(ending(tmp_path / str(number)))
        if number == 0:
            filled = entries(folder)
    assert entries(folder) == filled and len(filled) > 3
    assert endings[0] == endings[1] == endings[2]

    killed = tmp_path / "killed"
    process = begin(tiny_folder, killed, five, "--compile_cache=")
    wait_for_generation(process, killed, 2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert run(tiny_folder, killed, five, f"--compile_cache={folder}").returncode == 0
    assert ending(killed) == endings[0]
