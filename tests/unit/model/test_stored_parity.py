"""Our forward equals stored outputs of transformers (see make_parity_arrays.py); needs no torch."""

import json

import numpy as np
import pytest
import safetensors.numpy
from parity_cases import relative_error
from paths import DATA
from tiers import every

import jaxalign.model as jm

PATH = DATA / "parity.npz"


def _cases() -> list[str]:
    with np.load(PATH) as stored:
        return sorted({key.split("/")[0] for key in stored.files})


def test_enough_is_stored():
    assert len(_cases()) >= 8
    assert PATH.stat().st_size < 300_000


@pytest.mark.parametrize("name", every(_cases(), *_cases()[:1]))
def test_stored_outputs(name, tmp_path, run_ours):
    with np.load(PATH) as stored:
        case = {
            key.removeprefix(f"{name}/"): stored[key]
            for key in stored.files
            if key.startswith(f"{name}/")
        }
    weights = {
        key.removeprefix("weights/"): value
        for key, value in case.items()
        if key.startswith("weights/")
    }
    safetensors.numpy.save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(json.loads(str(case["config"]))))
    graphdef, params, _ = jm.load_model(tmp_path, "float32")
    inputs = [case[f"inputs/{kind}"] for kind in ("tokens", "positions", "mask")]
    ours = run_ours(graphdef, params, *inputs)
    for layer, state in enumerate(case["outputs/states"]):
        assert relative_error(ours["states"][layer], state) <= 1e-5, f"layer {layer}"
    assert relative_error(ours["hidden"], case["outputs/hidden"]) <= 1e-5
    assert relative_error(ours["logits"], case["outputs/logits"]) <= 1e-5
