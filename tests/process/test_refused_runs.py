"""Runs that have nothing to find, or something to lose, end before they do harm."""

import shutil

import numpy as np
import pytest
import safetensors.numpy
from random_models import TINY

from jaxalign.config import freeze
from jaxalign.errors import UserError
from jaxalign.model import parse_config, random_model, save_model
from jaxalign.problem import load_problem
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
