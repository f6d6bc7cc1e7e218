"""Messages name what happened, not what followed from it, and what to write instead."""

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import safetensors.numpy
import yaml

from jaxalign.compare.methods import load_methods
from jaxalign.errors import UserError
from jaxalign.interchange import read_soft_prompt
from jaxalign.model import load_model, read_stop_ids
from jaxalign.prompts import load_texts, load_tokenizer
from jaxalign.survey import load_instrument

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
SURVEY = """
name: own
title: Own
instruction: Answer.
scoring: distribution
stems: {how: "How much?"}
scales: {much: OPTIONS}
items: [{id: ID, stem: how, scale: much, text: rain}]
"""


@pytest.fixture
def model(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "model")


@pytest.mark.parametrize(
    ("options", "id_", "said"),
    [
        (
            "[yes, no]",
            "a",
            "scales.much: every option must be a text, not True, as YAML reads yes, ",
        ),
        ("[maybe, no]", "a", "not False, as YAML reads no, off and false: put the word in quotes"),
        ("[1, 2]", "a", "every option must be a text, not 1: put it in quotes"),
        ("[often, 2020-01-01]", "a", "not 2020-01-01: put it in quotes"),
        ("[often, ~]", "a", "every option must be a text, not None"),
        ("[often, never]", "1", "item number 1: id must be a text, not 1: put it in quotes"),
        ("[often, never]", "on", "item number 1: id must be a text, not True, as YAML reads yes"),
    ],
)
def test_what_yaml_makes_of_words_without_quotes(tmp_path, options, id_, said):
    path = tmp_path / "own.yaml"
    path.write_text(SURVEY.replace("OPTIONS", options).replace("ID", id_))
    with pytest.raises(UserError) as error:
        load_instrument(str(path))
    assert said in str(error.value)
    path.write_text(SURVEY.replace("OPTIONS", '["yes", "no"]').replace("ID", '"1"'))
    assert load_instrument(str(path)).items[0].options == ("yes", "no")
    assert yaml.safe_load("[yes, no]") == [True, False]


_LEVELS = [
    f"{name}: &{name} [{', '.join(['*' + below] * 9)}]" for below, name in pairwise("abcdefghij")
]


@pytest.mark.parametrize(
    "read", [load_instrument, load_texts, lambda path: load_methods(Path(path))]
)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n".join(["a: &a [x]", *_LEVELS]), "aliases repeat more than 100,000 values"),
        ("a: &a [*a]", "aliases repeat more than 100,000 values"),
        ("- " * 5000, "not valid YAML"),
        ("a: 1\na: 2", "key 'a' appears twice"),
    ],
)
def test_yaml_that_never_ends_or_says_a_thing_twice_is_refused(tmp_path, read, text, said):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        read(str(path))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("tokenizer.json", load_tokenizer),
        ("chat_template.jinja", load_tokenizer),
        ("config.json", lambda folder: load_model(folder, "float32")),
        ("model.safetensors", lambda folder: load_model(folder, "float32")),
        ("generation_config.json", read_stop_ids),
        ("model.gguf", lambda folder: load_model(folder / "model.gguf", "float32")),
        ("p.safetensors", lambda folder: read_soft_prompt(folder / "p.safetensors")),
        ("p.npy", lambda folder: read_soft_prompt(folder / "p.npy")),
    ],
)
def test_a_pointer_of_git_lfs_is_named_in_any_file(model, name, read):
    (model / name).write_text(POINTER)
    with pytest.raises(UserError, match="Git LFS pointer, not the file itself: run `git lfs pull`"):
        read(model)


@pytest.mark.parametrize(
    ("rename", "said"),
    [
        (lambda key: key.removeprefix("model."), "its names lack 'model.', as in 'embed_tokens.we"),
        (lambda key: f"base.{key}", "its names begin with 'base.', as in 'base.model.embed_tokens"),
        (lambda key: f"h.{len(key)}.{hash(key)}", "has names like 'h."),
    ],
)
def test_weights_under_other_names_are_told_once(model, rename, said):
    file = model / "model.safetensors"
    tensors = safetensors.numpy.load_file(file)
    safetensors.numpy.save_file({rename(key): value for key, value in tensors.items()}, file)
    with pytest.raises(UserError) as error:
        load_model(model, "float32")
    assert said in str(error.value) and "missing" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "warnings", "said"),
    [
        (
            ["--config=sa.py:embedded", "--config", "us.py"],
            "",
            "error: --config is given 2 times: ",
        ),
        (["--config=sa.py:embedded"], "error", "error: PYTHONWARNINGS or -W makes an error of a "),
    ],
)
def test_mistakes_of_the_command_line(tmp_path, arguments, warnings, said):
    told = subprocess.run(
        [sys.executable, "-m", "jaxalign.train", *arguments, f"--workdir={tmp_path / 'run'}"],
        env=os.environ | {"PYTHONWARNINGS": warnings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 2 and told.stderr.count("\n") == 1, told.stderr
    assert told.stderr.startswith(said) and not (tmp_path / "run").exists()
