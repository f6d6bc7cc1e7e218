"""The benchmark in a child process: figures that fit each other; no time is asserted."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxalign.engine import build_engine, resolve_settings
from jaxalign.model import parameter_count
from jaxalign.throughput import _run_rounds

ENVIRONMENT = {"JAX_PLATFORMS": "cpu"} | os.environ | {"COLUMNS": "200"}
EMBEDDED = "--config=sa.py:embedded"
POPULATION, LENGTH, CHUNK, REPEATS = 6, 3, 3, 2


def benchmark(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "jaxalign.benchmark", *arguments],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=300,
    )


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("benchmark") / "made" / "here"


@pytest.fixture(scope="module")
def printed(tiny_folder, output) -> list[str]:
    """The lines that the command prints for the tiny model."""
    result = benchmark(
        EMBEDDED,
        f"--repeats={REPEATS}",
        f"--output={output}",
        f"--config.model.path={tiny_folder}",
        f"--config.prompt.length={LENGTH}",
        f"--config.search.population={POPULATION}",
        f"--config.evaluation.chunk={CHUNK}",
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout.splitlines()


@pytest.fixture(scope="module")
def figures(printed) -> dict:
    return json.loads(printed[-1])


def test_what_it_prints_and_leaves(printed, figures, output, tiny_folder):
    assert [path.name for path in output.iterdir()] == ["benchmark.json"]
    assert json.loads((output / "benchmark.json").read_text()) == figures
    table = "\n".join(printed[:-1])
    for words in ("candidates/s", "of the ceiling", "byte for byte", "attention xla", "flax"):
        assert words in table
    assert figures["model"] == str(tiny_folder) and EMBEDDED in figures["command"]
    assert figures["hardware"] and figures["date"].endswith("+00:00")
    assert {"jax", "jaxlib", "jaxalign"} <= figures["versions"].keys()


def test_the_sizes_are_those_of_the_problem(figures, tiny_problem):
    trie = tiny_problem.questions.trie
    assert figures["population"] == POPULATION
    assert figures["prompt_length"] == LENGTH
    assert figures["chunk"] == CHUNK
    assert figures["repeats"] == REPEATS == len(figures["generation_seconds"])
    assert figures["trie_tokens"] == trie.size
    assert figures["questions"] == 24
    assert figures["tokens"] == POPULATION * (LENGTH + trie.size)
    padded = trie.padded + 24 * LENGTH
    assert figures["saving"] == pytest.approx(padded * POPULATION / figures["tokens"])
    assert figures["parameters"] == parameter_count(tiny_problem.weights)


def test_the_rates_fit_the_seconds(figures):
    seconds = figures["seconds"]
    assert seconds["generation"] == pytest.approx(sum(figures["generation_seconds"]) / REPEATS)
    assert figures["tokens_per_second"] * seconds["generation"] == pytest.approx(figures["tokens"])
    assert figures["candidates_per_second"] * seconds["generation"] == pytest.approx(POPULATION)
    inside = seconds["evaluate"] + seconds["ask_tell"] + seconds["rest"]
    assert inside == pytest.approx(seconds["generation"])
    other = seconds["generation"] - seconds["evaluate"] + seconds["checkpoint"]
    assert figures["overhead_share"] == pytest.approx(other / seconds["generation"])
    for part in ("generation", "evaluate", "ask_tell", "checkpoint"):
        assert seconds[part] > 0
    compiling = figures["compile_seconds"]
    assert 0 < compiling["step"] < compiling["engine"]


def test_the_share_fits_the_flop(figures):
    # Layers × (query and output 32 × 32, key and value 32 × 16, three of the MLP 32 × 48), by hand.
    assert figures["flop_per_token"] == 2 * 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48)
    rate = figures["tokens_per_second"] * figures["flop_per_token"]
    ceiling = figures["ceiling"]["flop_per_second"]
    assert figures["share_of_ceiling"] == pytest.approx(rate / ceiling)
    assert 0 < figures["share_of_ceiling"] < 1.5


def test_memory_and_resume(figures):
    memory = figures["memory"]
    assert memory["weights"] == 4 * figures["parameters"]
    assert memory["predicted"] == memory["weights"] + memory["working"]
    assert memory["peak"] is None or memory["peak"] >= memory["weights"]
    assert figures["resume_identical"] is True


def test_every_round_evaluates_the_whole_population(tiny_config, tiny_problem, tmp_path):
    """L-SHADE shrinks on the way, and the rates count whole populations."""
    tiny_config.search.strategy = "LSHADE"
    engine = build_engine(tiny_config, tiny_problem, resolve_settings(tiny_config, tiny_problem))
    after = []

    def step(state):
        state, metrics = engine.step(state)
        after.append(int(metrics.evaluations))
        return state, metrics

    watched = dataclasses.replace(engine, step=step)
    rounds = _run_rounds(tiny_config, tiny_problem, watched, 3, tmp_path)
    assert after[:-2] == [2 * engine.candidates] * 5  # one warms up, and a round too
    assert after[-2:] == [after[-1]] * 2 and rounds.resume_identical
    assert after[-1] < 3 * engine.candidates


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model=llama4"], ["--model", "llama4", "llama3-8b"]),
        (["--repeats=0"], ["repeats", "0"]),
        (["--output=/proc/nothing"], ["--output=/proc/nothing"]),
        (["--config.search.populaton=8"], ["populaton", "population"]),
        (["--config.objective.terms.norm=1"], ["config has no key", "norm"]),
        (["--config.model.path=./nowhere"], ["nowhere", "local folder"]),
    ],
    ids=lambda value: value[0][:30],
)
def test_mistakes_are_told_in_one_line(arguments, words):
    result = benchmark(EMBEDDED, *arguments)
    assert result.returncode == 2, result.stdout + result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    assert all(word in lines[0] for word in words), lines[0]
