"""A finished run for two countries on the tiny model, and the same as if on the embedded one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxalign.config import base, freeze
from jaxalign.model import to_safetensors
from jaxalign.run.tune import tune

LENGTH = 3


@pytest.fixture(scope="session")
def several(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workdir of a run for SA and US."""
    config = base("embedded")
    config.country = "sa,us"
    config.model.path = str(tiny_folder)
    config.prompt.length = LENGTH
    config.search.strategy = "RandomSearch"
    config.search.population = 2
    config.search.generations = 1
    config.evaluation.chunk = 2
    workdir = tmp_path_factory.mktemp("several") / "run"
    tune(freeze(config), workdir, again="-m jaxalign.train --config=sa.py:embedded")
    return workdir


@pytest.fixture
def alone(several: Path, tmp_path: Path) -> Path:
    """A copy of one country's part of it, for a test to spoil."""
    return Path(shutil.copytree(several / "countries" / "SA", tmp_path / "alone"))


@pytest.fixture
def change() -> Callable[..., None]:
    """Sets a value deep in a JSON file, or takes it out if it is None."""

    def set_value(path: Path, value: Any, *keys: str) -> None:
        content = place = json.loads(path.read_text())
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        if value is None:
            del place[keys[-1]]
        path.write_text(json.dumps(content))

    return set_value


@pytest.fixture
def put_prompt() -> Callable[..., None]:
    """Replaces a workdir's prompt."""

    def write(workdir: Path, prompt_LD: np.ndarray) -> None:
        content = to_safetensors({"prompt_embeddings": prompt_LD})
        (workdir / "soft_prompt.safetensors").write_bytes(content)

    return write
