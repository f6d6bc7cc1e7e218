"""The command: for one country and for several, again, into a search, and refused."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxalign.config import base, freeze
from jaxalign.errors import UserError
from jaxalign.interchange import WRITERS, export, read_soft_prompt
from jaxalign.problem import load_problem
from jaxalign.run.initialization import first_prompts

ENVIRONMENT = os.environ | {"JAX_PLATFORMS": "cpu", "COLUMNS": "200"}


def run(*flags: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "jaxalign.export", *flags]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


FILES = {
    "peft": {"adapter_config.json", "adapter_model.safetensors"},
    "prompt_embeds": {"prompt_embeds.safetensors", "index.json"},
    "npy": {"soft_prompt.npy"},
}


def test_the_command_writes_an_adapter_and_says_so(several, tmp_path):
    output = tmp_path / "out"
    result = run(f"--workdir={several / 'countries' / 'US'}", f"--output={output}")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    for words in ("United States", "3 x 32", "adapter_model.safetensors", str(output)):
        assert words in result.stdout
    prompt_LD = read_soft_prompt(several / "countries" / "US")
    np.testing.assert_array_equal(read_soft_prompt(output), prompt_LD)


@pytest.mark.parametrize("form", WRITERS)
def test_several_countries_go_to_folders_that_are_like_single_ones(form, several, tmp_path):
    prompts, names = export(several, form, tmp_path / "all")
    assert [tuned.code for tuned in prompts] == ["SA", "US"]
    expected = {f"{code}/{name}" for code in ("SA", "US") for name in FILES[form] | {"README.md"}}
    assert set(names) == expected | {"README.md"}
    page = (tmp_path / "all" / "README.md").read_text()
    for code in ("SA", "US"):
        export(several / "countries" / code, form, tmp_path / code)
        alone = tree(tmp_path / code)
        del alone["jaxalign_export.json"]
        assert tree(tmp_path / "all" / code) == alone
        assert f"({code}/README.md)" in page


@pytest.mark.parametrize("form", ["peft", "npy"])
def test_what_is_exported_is_read_as_it_was(form, several, alone, put_prompt, tmp_path):
    extreme = np.float32([[0, -0.0, 1e-45, 3.4e38] * 8, np.linspace(-1, 1, 32)])
    put_prompt(alone, extreme)
    export(alone, form, tmp_path / "out")
    read = read_soft_prompt(tmp_path / "out")
    assert read.dtype == np.float32 and read.tobytes() == extreme.tobytes()


@pytest.mark.parametrize("form", ["peft", "npy"])
def test_a_search_starts_from_an_export(form, several, tiny_folder, tmp_path):
    source = several / "countries" / "SA"
    export(source, form, tmp_path / "out")
    config = base("embedded")
    config.country = "SA"
    config.model.path = str(tiny_folder)
    config.prompt.length = 3
    config.prompt.init = str(tmp_path / "out")
    config.search.population = 4
    freeze(config)
    prompts_PLD = jax.device_get(first_prompts(freeze(config), load_problem(freeze(config))))
    np.testing.assert_array_equal(prompts_PLD[0], read_soft_prompt(source))
    assert len(np.unique(prompts_PLD.reshape(4, -1), axis=0)) == 4


def test_the_same_export_again_changes_nothing(several, tmp_path):
    export(several, "peft", tmp_path / "out")
    before, inode = tree(tmp_path / "out"), (tmp_path / "out").stat().st_ino
    export(several, "peft", tmp_path / "out")
    assert tree(tmp_path / "out") == before and (tmp_path / "out").stat().st_ino == inode
    export(several, "npy", tmp_path / "out")
    assert "SA/soft_prompt.npy" in tree(tmp_path / "out")
    assert not list((tmp_path / "out").rglob("adapter*"))


@pytest.mark.parametrize(
    "flags,said",
    [
        (("--workdir={alone}",), "--output=DIR is missing"),
        (("--workdir={alone}", "--output={out}", "--format=gguf"), "prompt_embeds"),
        (("--workdir={out}", "--output={out}"), "summary.json"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(flags, said, alone, tmp_path):
    places = {"alone": alone, "out": tmp_path / "out"}
    result = run(*(flag.format(**places) for flag in flags))
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and said in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("room,key", [("survey", "instrument"), ("model", "path")])
def test_the_survey_and_the_model_must_be_there(room, key, alone, change, tmp_path):
    gone = str(tmp_path / "gone" / "no" / "such")
    change(alone / "config.json", gone, "config", room, key)
    with pytest.raises(UserError, match=rf"^{room}\.{key}='{re.escape(gone)}'[^\n]*$"):
        export(alone, "peft", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_workdir_is_never_written_over(alone):
    before = tree(alone)
    with pytest.raises(UserError, match="no earlier export"):
        export(alone, "npy", alone)
    assert tree(alone) == before
