"""The benchmark in a child process: figures that fit each other; no time is asserted."""

import csv
import dataclasses
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from engines import make_engine
from tiers import first

from jaxalign.benchmark.clock import Stopwatch
from jaxalign.benchmark.parts import Parts
from jaxalign.config import freeze
from jaxalign.model import parameter_count
from jaxalign.problem import load_problem

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
        "--config.search.strategy=DifferentialEvolution",  # compiles faster than the default
        "--config.objective.formats=identity",
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
    words_of_each = ("candidates/s", "of the ceiling", "byte for byte", "attention auto", "flax")
    for words in (*words_of_each, "from the cache", "XLA counts", "host"):
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
    other = seconds["ask_tell"] + seconds["checkpoint"] + seconds["host"]
    assert figures["overhead_share"] == pytest.approx(other / seconds["generation"])
    for part in ("generation", "evaluate", "ask_tell", "checkpoint", "host"):
        assert seconds[part] > 0
    compiling = figures["compile_seconds"]
    assert 0 < compiling["step_from_cache"] < compiling["step"] < compiling["engine"]


def test_the_share_fits_the_flop(figures):
    # Layers × (query and output 32 × 32, key and value 32 × 16, three of the MLP 32 × 48), by hand.
    assert figures["flop_per_token"] == 2 * 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48)
    rate = figures["tokens_per_second"] * figures["flop_per_token"]
    ceiling = figures["ceiling"]["flop_per_second"]
    assert figures["share_of_ceiling"] == pytest.approx(rate / ceiling)
    assert 0 < figures["share_of_ceiling"] < 1.5
    flop = figures["flop_per_candidate"]
    done = figures["candidates"] * flop["formula"] + flop["shared"]
    rate = done / figures["seconds"]["generation"]
    assert figures["share_by_operations"] == pytest.approx(rate / ceiling)
    # Norms, softmax and the like are a large part where the width is 32.
    assert 1 < flop["xla"] / (flop["formula"] + flop["shared"]) < 1.5


def test_memory_and_resume(figures):
    memory = figures["memory"]
    assert memory["weights"] == 4 * figures["parameters"]
    assert memory["predicted"] == memory["weights"] + memory["working"]
    assert memory["peak"] is None or memory["peak"] >= memory["weights"]
    assert figures["resume_identical"] is True


def test_every_round_evaluates_the_whole_population(tiny_config, tiny_problem, tmp_path):
    """L-SHADE shrinks on the way, and the rates count whole populations."""
    tiny_config.search.strategy = "LSHADE"
    engine = make_engine(tiny_config, tiny_problem)
    after = []

    def step(state):
        state, metrics = engine.step(state)
        after.append(int(metrics.evaluations))
        return state, metrics

    watched = dataclasses.replace(engine, step=step)
    watch = Stopwatch()
    with Parts(freeze(tiny_config), tiny_problem, watched, tmp_path) as parts:
        for number in range(4):
            parts.run(number, watch)
        assert parts.resumes()
    assert after[:-2] == [2 * engine.plan.candidates] * 5  # one more warms up
    assert after[-2:] == [after[-1]] * 2 and after[-1] < 3 * engine.plan.candidates
    assert {len(taken) for taken in watch.taken.values()} == {4}
    assert watch.medians() == {name: sorted(taken[1:])[1] for name, taken in watch.taken.items()}


def test_a_pool_is_measured_too(tiny_config, tmp_path):
    tiny_config.search.strategy = "LSHADE"
    tiny_config.objective.formats, tiny_config.objective.at_a_time = "pool:4", 2
    problem = load_problem(freeze(tiny_config))
    with Parts(freeze(tiny_config), problem, make_engine(tiny_config, problem), tmp_path) as parts:
        parts.run(0, Stopwatch())
        assert parts.resumes()
        assert parts.evaluate().answers_PQA.shape[1] == 2 * len(problem.instrument.items)


@pytest.fixture(scope="module")
def swept(tiny_folder, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A grid of four settings, two of which have more positions than the model."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("sweep")
    result = benchmark(
        EMBEDDED,
        "--peer=transformers",
        "--trace",
        "--repeats=1",
        f"--output={folder}",
        "--sweep=population=4,8",
        "--sweep=length=2,600",
        f"--config.model.path={tiny_folder}",
        "--config.evaluation.chunk=2",
        "--config.search.strategy=DifferentialEvolution",  # compiles faster than the default
    )
    assert result.returncode == 0, result.stderr
    return folder, result


@pytest.mark.nightly
def test_a_sweep_leaves_tables_plot_and_profiles(swept):
    folder, result = swept
    names = {"benchmark.csv", "benchmark.jsonl", "scaling.png", "scaling.svg", "trace"}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "scaling.png").stat().st_size > 10_000
    lines = (folder / "benchmark.jsonl").read_text().splitlines()
    assert result.stdout.splitlines()[-4:] == lines
    points = [json.loads(line) for line in lines]
    grid = [(4, 2), (4, 600), (8, 2), (8, 600)]
    assert [tuple(point["swept"].values()) for point in points] == grid
    assert ["error" in point for point in points] == [False, True, False, True]
    warnings = result.stderr.splitlines()
    assert len(warnings) == 2 and "length=600: not measured: the longest" in warnings[0]
    with (folder / "benchmark.csv").open() as file:
        table = list(csv.DictReader(file))
    for row, point, (population, length) in zip(table, points, grid, strict=True):
        assert (row["search.population"], row["prompt.length"]) == (str(population), str(length))
        assert (row["candidates_per_second"] == "") == ("error" in point)
        assert row["jax"] and row["hardware"] and row["date"]
    assert "1/4  population=4 length=2  " in result.stdout and "x peer" in result.stdout
    assert "growth" in result.stdout and "not measured" in result.stdout


@pytest.mark.nightly
def test_the_peer_is_timed_for_each_population(swept):
    folder, _ = swept
    points = [json.loads(line) for line in (folder / "benchmark.jsonl").read_text().splitlines()]
    for point in points[::2]:
        peer = point["peer"]
        assert peer["alternated"] and peer["losses"]["equal"] is True
        assert peer["device"] == "cpu" and peer["ratio"] > 0
        assert str(peer["batch"]) in peer["tried"]
        assert {"torch", "transformers"} <= point["versions"].keys()


@pytest.mark.nightly
def test_the_profile_has_the_parts_by_name(swept):
    folder, _ = swept
    for place in ("0", "2"):
        (opened,) = (folder / "trace" / place).rglob("perfetto_trace.json.gz")
        events = json.loads(gzip.decompress(opened.read_bytes()))["traceEvents"]
        spans = [event["name"] for event in events if event.get("ph") == "X"]
        for part in ("generation", "checkpoint", "evaluate", "ask_tell", "host"):
            assert spans.count(part) == 2
        (profile,) = (folder / "trace" / place).rglob("*.xplane.pb")
        content = profile.read_bytes()
        for scope in (b"jit(step)/ask/", b"jit(step)/evaluate/", b"jit(step)/tell/"):
            assert scope in content


@pytest.mark.parametrize(
    ("arguments", "words"),
    first(
        1,
        [
            (["--model=llama4"], ["--model", "llama4", "llama3-8b"]),
            (["--repeats=0"], ["repeats", "0"]),
            (["--output=/proc/nothing"], ["--output=/proc/nothing"]),
            (["--trace"], ["--trace", "--output"]),
            (["--compile_for=v9:2x2"], ["--compile_for=v9:2x2", "v5e, v5p, v6e, h100, h200"]),
            (["--sweep=populaton=8"], ["--sweep=populaton=8", "search.population"]),
            (["--config.search.populaton=8"], ["populaton", "population"]),
            (["--config.objective.terms.norm=1"], ["config has no key", "norm"]),
            (["--config.model.path=./nowhere"], ["nowhere", "local folder"]),
        ],
    ),
    ids=lambda value: value[0][:30],
)
def test_mistakes_are_told_in_one_line(arguments, words):
    result = benchmark(EMBEDDED, *arguments)
    assert result.returncode == 2, result.stdout + result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    assert all(word in lines[0] for word in words), lines[0]
