"""What all tests share: strict shapes, a tiny model in the real format, and compiled programs."""

import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path

import jax
import pytest
from random_models import TINY, save_random
from tiers import NIGHTLY

from jaxalign.config import base, freeze
from jaxalign.problem import Problem, load_problem
from jaxalign.run.random_weights import SHAPES

jax.config.update("jax_numpy_rank_promotion", "raise")

QUICKLY = "JAX_DISABLE_MOST_OPTIMIZATIONS"
COMPILED = "JAX_COMPILATION_CACHE_DIR"  # tells JAX, in the workers and in every command they start


def pytest_configure(config: pytest.Config) -> None:
    """Make one folder of compiled programs for the session, and let children take signals."""
    # A suite in the background (nohup, a job of a script) inherits both as ignored, and so would
    # every command that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if not hasattr(config, "workerinput"):  # a worker has it from the process that starts it
        os.environ[COMPILED] = tempfile.mkdtemp(prefix="jaxalign-compiled-")
        # What compiles here is small and runs once. The nightly tier compiles as a user's runs do.
        os.environ[QUICKLY] = str(not NIGHTLY)
    # Python has imported JAX, and JAX has read its environment, before this.
    jax.config.update("jax_compilation_cache_dir", os.environ[COMPILED])
    jax.config.update("jax_disable_most_optimizations", not NIGHTLY)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # A killed command may leave a part of a file. Commands mend that; here it is only compiled.
    fault = "Error reading persistent compilation cache"
    config.addinivalue_line("filterwarnings", f"ignore:{fault}:UserWarning")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes it."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(COMPILED), ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests that are marked nightly to the nightly tier, outside of its own folder."""
    if NIGHTLY:
        return
    nightly = [
        item
        for item in items
        if item.get_closest_marker("nightly") and "nightly" not in item.path.parts
    ]
    config.hook.pytest_deselected(items=nightly)
    items[:] = [item for item in items if item not in nightly]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 2 layers with a real tokenizer; weights large enough for varied answers."""
    folder = tmp_path_factory.mktemp("tiny")
    save_random(folder, TINY)
    return folder


@pytest.fixture
def tiny_config(tiny_folder: Path):
    """A config that runs on the tiny model in seconds."""
    return _tiny_config(tiny_folder)


@pytest.fixture(scope="module")
def module_tiny_config(tiny_folder: Path):
    """The same for a fixture that serves a module."""
    return _tiny_config(tiny_folder)


def _tiny_config(tiny_folder: Path):
    config = base("embedded")
    config.country = "SA"
    config.model.path = str(tiny_folder)
    config.prompt.length = 3
    config.search.strategy = "DifferentialEvolution"
    config.search.population = 6
    config.search.generations = 4
    config.objective.formats = "identity"  # half of the tokens
    config.evaluation.chunk = 3
    return config


@pytest.fixture(scope="session")
def tiny_problem(tiny_folder) -> Problem:
    """The survey put to the tiny model; nobody can change it."""
    return load_problem(freeze(_tiny_config(tiny_folder)))


@pytest.fixture(scope="module", autouse=True)
def free_programs():
    """Free what a file has compiled: a worker would grow to several gigabytes."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture
def small_shape(monkeypatch) -> str:
    """A shape beside the packaged ones, for whoever takes random weights."""
    shape = {
        "model_type": "llama",
        "vocab_size": 1000,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "max_position_embeddings": 512,
    }
    monkeypatch.setitem(SHAPES, "small", shape)
    return "small"
