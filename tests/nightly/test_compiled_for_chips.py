"""The 8B shape compiled for chips that are not there: what fits, is copied, sent and multiplied.

Needs XLA's compilers for them (extras compile-tpu and compile-gpu); each program takes minutes.
"""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from paths import ROOT

pytestmark = pytest.mark.nightly
CHUNK, ROWS, WIDTH, LAYERS = 8, 16 + 583, 4096, 32


def compiled(chip: str, *more: str) -> list[dict]:
    package = "jax_cuda12_plugin" if chip.startswith("h") else "libtpu"
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    command = [
        *(sys.executable, "-m", "jaxalign.benchmark", "--config=sa.py:embedded"),
        *(f"--compile_for={chip}", "--model=llama3-8b", "--config.model.dtype=bfloat16"),
        *("--config.objective.formats=identity", "--config.prompt.length=16", *more),
    ]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "COLUMNS": "400"}
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=3000)
    assert result.returncode == 0, result.stderr[-2000:]
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("chip", ["v5e:1x2", "v6e:1x1"])
def test_every_program_of_a_run_fits_a_tpu_and_does_what_it_should(chip):
    (told,) = compiled(chip, f"--config.evaluation.chunk={CHUNK}")
    programs = told["programs"]
    assert programs.keys() == {f"evaluate, chunk {CHUNK}", "start", "step", "gradient"}
    population, model = told["mesh"]
    assert (population, model) == ((1, 2) if chip == "v5e:1x2" else (1, 1))
    for name, program in programs.items():
        assert program["memory"]["total"] < 0.9 * program["memory"]["chip"], name
        # On v6e XLA copies one of the keys' and values' weights, 2% of a layer's bytes.
        assert program["weight_copies"]["main"] <= (0 if model > 1 else 1024 * WIDTH * 2), name
    for name in (f"evaluate, chunk {CHUNK}", "start", "step"):
        flop = sum(programs[name]["flop"].values())
        assert flop == pytest.approx(told["flop_by_formula"], rel=2e-3), name
        # Two sums a layer over the model axis, of a chunk's rows.
        sums = [each for each in programs[name]["collectives"] if each["in_layers"]]
        assert sum(each["count"] for each in sums) == (2 if model > 1 else 0)
        for each in sums:
            assert each["kind"] == "all-reduce"
            assert each["bytes"] == CHUNK * ROWS * WIDTH * 2
            assert each["times"] == (LAYERS - 2) * told["candidates"] // CHUNK
    memory = programs["step"]["memory"]
    assert memory["donated"] > told["candidates"] * 16 * WIDTH * 4 // (population * model)
    assert memory["donated"] > 0.95 * memory["outputs"]


def test_a_chunk_that_the_compiler_finds_too_large_is_not_chosen():
    (told,) = compiled("v5e:1x2", "--config.search.population=2048", "--sweep=chunk=2048")
    assert "RESOURCE_EXHAUSTED" in told["programs"]["evaluate, chunk 2048"]["error"]


def test_gpu_products_have_the_types_that_are_wanted():
    none, fp8 = compiled("h100", "--sweep=quantization=none,fp8", "--config.evaluation.chunk=64")
    for told, product in ((none, "bf16 x bf16 -> bf16"), (fp8, "f8e4m3fn x f8e4m3fn -> bf16")):
        (program,) = told["programs"].values()
        assert program["memory"]["total"] < program["memory"]["chip"]
        whole = sum(program["flop"].values())
        assert program["flop"][product] > 0.98 * whole
        assert whole == pytest.approx(told["flop_by_formula"], rel=2e-3)
