"""Runs that have nothing to find, or something to lose, end before they do harm."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from paths import ROOT
from random_models import TINY

from jaxalign.config import freeze, to_plain, with_keys
from jaxalign.errors import UserError
from jaxalign.evidence.runs import Options, evaluate
from jaxalign.files import write_json
from jaxalign.model import parse_config, random_model, save_model
from jaxalign.problem import load_problem
from jaxalign.run.heartbeat import hold
from jaxalign.run.tune import tune


@pytest.fixture
def copy(tiny_folder, tiny_config, tmp_path):
    """A copy of the tiny model that the config runs on."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    tiny_config.model.path = str(folder)
    return folder


def test_a_model_with_nan_in_it(copy, tiny_config, tmp_path):
    file = copy / "model.safetensors"
    tensors = safetensors.numpy.load_file(file)
    tensors["model.norm.weight"] = np.full_like(tensors["model.norm.weight"], np.nan)
    safetensors.numpy.save_file(tensors, file)
    with pytest.raises(UserError, match=f"model.path={copy}: its answers are not finite"):
        tune(freeze(tiny_config), tmp_path / "run")
    assert not (tmp_path / "run" / "summary.json").exists()


def test_a_tokenizer_of_another_model(copy, tiny_config):
    config = parse_config(TINY | {"vocab_size": 300}, "config")
    save_model(copy, random_model(config, "float32", seed=0)[1], config)
    with pytest.raises(UserError, match=r"tokens up to 599, but the model has vocab_size=300"):
        load_problem(freeze(tiny_config))


def test_metrics_without_their_checkpoints_are_not_overwritten(tiny_config, tmp_path):
    tiny_config.search.generations = 2
    tune(freeze(tiny_config), tmp_path)
    shutil.rmtree(tmp_path / "checkpoints")
    told = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match="tells of 3 generations, but there is no checkpoint"):
        tune(freeze(tiny_config), tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == told


def begun(folder, settings):
    """A workdir as a run leaves it after a generation, but for what only a resumed run reads."""
    record = {"config": to_plain(settings), "resolved": {}, "digests": {}, "versions": {}}
    write_json(folder / "config.json", record)
    (folder / "metrics.jsonl").write_text('{"generation": 4}\n')
    (folder / "checkpoints" / "4").mkdir(parents=True)


def test_what_a_look_can_tell_is_told_before_the_model_is_looked_for(tiny_config, tmp_path):
    """Each of these would else be told after a model of 16 GB is read, or compiled."""
    tiny_config.model.path = str(tmp_path / "no-model")
    settings, run = freeze(tiny_config), tmp_path / "run"
    with pytest.raises(UserError, match=r"model\.path"):
        tune(settings, run)
    begun(run, settings)
    with pytest.raises(UserError, match=r"model\.path"):
        tune(settings, run)
    with pytest.raises(UserError, match="another run: seed was 0, now 3"):
        tune(with_keys(settings, {"seed": 3}), run)
    with pytest.raises(UserError, match=r"search.generations=3: .* is already at generation 4"):
        tune(with_keys(settings, {"search.generations": 3}), run)
    with hold(run, "--workdir"), pytest.raises(UserError, match="another run is using it"):
        tune(settings, run)
    for folder in (run, run / "evaluation"):
        with hold(folder, "--workdir"), pytest.raises(UserError, match="another run is using it"):
            evaluate(settings, np.zeros((3, 64), np.float32), run, Options())
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write there \(Not a directory\)"):
        tune(settings, tmp_path / "file" / "run")
    with pytest.raises(UserError, match="must be a folder of this machine"):
        tune(settings, Path("gs://bucket/run"))
    (run / "checkpoints" / "4").rmdir()
    with pytest.raises(UserError, match="tells of 1 generations, but there is no checkpoint"):
        tune(settings, run)
    (run / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"config.json: 'config' is missing"):
        tune(settings, run)


def test_an_evaluation_looks_at_small_files_before_the_weights(copy, tiny_config, tmp_path):
    prompt_LD = np.zeros((3, 64), np.float32)
    (copy / "model.safetensors").write_bytes(b"damaged")
    (copy / "generation_config.json").write_text("{")
    with pytest.raises(UserError, match=r"generation_config.json: cannot be read as JSON"):
        evaluate(freeze(tiny_config), prompt_LD, tmp_path / "out", Options("none"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write there"):
        evaluate(freeze(tiny_config), prompt_LD, tmp_path / "file", Options("none"))


def test_countries_of_a_run_that_goes_on_are_not_evaluated(tmp_path):
    """The folder that is held is the one above theirs."""
    (tmp_path / "countries" / "SA").mkdir(parents=True)
    (tmp_path / "countries" / "SA" / "summary.json").write_text("{}")
    command = [sys.executable, "-m", "jaxalign.evaluate", f"--workdir={tmp_path}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with hold(tmp_path, "--workdir"):
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert f"--workdir={tmp_path}: another run is using it" in done.stderr
