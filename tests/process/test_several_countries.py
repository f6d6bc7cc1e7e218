"""One run for two countries, through the command: what it leaves, killed, and refused."""

import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from train_command import begin, records, run, wait_for_generation

from jaxalign.config import freeze
from jaxalign.errors import UserError
from jaxalign.problem import load_problem
from jaxalign.run.tune import tune

CODES = ("SA", "US")
FLAGS = ("--config.country=sa,us", "--config.search.generations=8")
PER_COUNTRY = {
    "soft_prompt.safetensors",
    "population.safetensors",
    "summary.json",
    "metrics.jsonl",
    "config.json",
    "report",
}


@pytest.fixture(scope="module")
def whole(tiny_folder, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("several") / "run"
    result = run(tiny_folder, workdir, *FLAGS)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    for words in ("Saudi Arabia", "United States", "generation 8/8", f"{workdir}/countries"):
        assert words in result.stdout
    return workdir


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def ending(workdir: Path) -> dict[str, object]:
    """All that a run ends with, by path, apart from timings and paths of its own."""
    found: dict[str, object] = {"metrics": records(workdir)}
    for code in CODES:
        folder = workdir / "countries" / code
        found[f"{code} metrics"] = records(folder)
        for name in ("soft_prompt.safetensors", "population.safetensors"):
            found[f"{code} {name}"] = (folder / name).read_bytes()
    for path in (workdir, *(workdir / "countries" / code for code in CODES)):
        summary = read(path / "summary.json")
        found[f"{path.name} summary"] = {
            k: v for k, v in summary.items() if k not in ("seconds", "tokens_per_second")
        }
    found["run summary"] = found.pop(f"{workdir.name} summary")
    return found


def test_each_country_has_the_files_of_a_run_of_its_own(whole):
    assert {path.name for path in (whole / "countries").iterdir()} == set(CODES)
    for code in CODES:
        folder = whole / "countries" / code
        assert {path.name for path in folder.iterdir()} == PER_COUNTRY
        assert (folder / "report" / "index.html").stat().st_size > 0
        assert (folder / "config.json").read_bytes() == (whole / "config.json").read_bytes()
        shape = safetensors.numpy.load_file(folder / "soft_prompt.safetensors")
        assert shape["prompt_embeddings"].shape == (3, 32)
        members = safetensors.numpy.load_file(folder / "population.safetensors")
        assert members["population"].shape == (6, 3, 32)
    assert not (whole / "soft_prompt.safetensors").exists()
    prompts = {(whole / "countries" / c / "soft_prompt.safetensors").read_bytes() for c in CODES}
    assert len(prompts) == 2


def test_the_page_of_all_leads_to_the_page_of_each(whole):
    folder = whole / "report"
    page = (folder / "index.html").read_text()
    together = read(whole / "summary.json")
    assert together["notice"] is None or together["notice"] in page
    for code in CODES:
        link = f"../countries/{code}/report/index.html"
        (row,) = re.findall(rf'<tr><td><a href="{link}">.*</tr>', page)
        assert (folder / link).is_file()
        loss = together["countries"][code]["loss"]
        cells = re.findall(r">([\d.]+)</td>", row)
        assert list(map(float, cells)) == pytest.approx(
            [loss["constant"], loss["naive"], loss["best"]], abs=0.05
        )


def test_each_loss_is_that_of_the_country_s_own_file(whole, tiny_config):
    tiny_config.country = "sa,us"
    problem = load_problem(freeze(tiny_config))
    together = read(whole / "summary.json")
    assert together["country"] == list(CODES) == list(together["countries"])
    for place, code in enumerate(CODES):
        folder = whole / "countries" / code
        file = safetensors.numpy.load_file(folder / "soft_prompt.safetensors")
        arguments = (problem.weights, problem.task, file["prompt_embeddings"][None])
        result = jax.jit(problem.evaluator())(*arguments, key=jax.random.key(0))
        summary = read(folder / "summary.json")
        best = summary["loss"]["best"]
        assert best == pytest.approx(float(result.loss_GP[place, 0]), rel=1e-4, abs=1e-3)
        distance = sum(abs(summary["scores"][k] - v) for k, v in summary["target"].items())
        assert best == pytest.approx(distance, rel=1e-4)
        assert summary["country"] == code and best < summary["loss"]["naive"]
        assert together["countries"][code]["loss"] == summary["loss"]
        assert together["countries"][code]["scores"] == summary["scores"]
    for kind in ("constant", "naive", "best"):
        mean = np.mean([each["loss"][kind] for each in together["countries"].values()])
        assert together["loss"][kind] == pytest.approx(mean, rel=1e-6)


def test_metrics_tell_of_each_country_and_of_their_mean(whole):
    lines = records(whole)
    assert [line["generation"] for line in lines] == list(range(9))
    assert [line["evaluations"] for line in lines] == [12 * (g + 1) for g in range(9)]
    for line in lines:
        assert set(line["countries"]) == set(CODES)
        for key in ("best_loss", "generation_best", "generation_mean", "prompt_norm"):
            mean = np.mean([each[key] for each in line["countries"].values()])
            assert line[key] == pytest.approx(mean, rel=1e-5)
        accepted = [each["accepted"] for each in line["countries"].values()]
        assert line["accepted"] == sum(accepted)
    for code in CODES:
        own = records(whole / "countries" / code)
        assert [line["best_loss"] for line in own] == [
            line["countries"][code]["best_loss"] for line in lines
        ]
        assert all("countries" not in line for line in own)
        best = [line["best_loss"] for line in own]
        assert (np.diff(best) <= 0).all()
        assert read(whole / "countries" / code / "summary.json")["loss"]["best"] == best[-1]


@pytest.mark.nightly
def test_kill_9_and_resume_give_the_same_bytes(whole, tiny_folder, tmp_path):
    workdir = tmp_path / "killed"
    process = begin(tiny_folder, workdir, *FLAGS)
    wait_for_generation(process, workdir, 3)
    process.kill()
    process.communicate()
    assert not (workdir / "summary.json").exists()
    result = run(tiny_folder, workdir, *FLAGS)
    assert result.returncode == 0, result.stderr
    assert "after generation" in result.stdout
    assert ending(workdir) == ending(whole)


def test_other_countries_are_another_run(whole, tiny_folder, tiny_config, tmp_path):
    workdir = tmp_path / "other"
    shutil.copytree(whole, workdir)
    before = {path: path.read_bytes() for path in workdir.glob("*.*")}
    tiny_config.country = "sa,us,cn"
    tiny_config.search.generations = 8
    with pytest.raises(UserError, match="country was 'sa,us', now 'sa,us,cn'") as fault:
        tune(freeze(tiny_config), workdir)
    assert "the target changed" in str(fault.value) and "\n" not in str(fault.value)
    assert before == {path: path.read_bytes() for path in workdir.glob("*.*")}


@pytest.mark.nightly
def test_a_chunk_above_all_candidates_goes_on(tiny_config, tmp_path):
    tiny_config.country = "sa,us"
    tiny_config.evaluation.chunk = 100
    for generations in (1, 2):
        tiny_config.search.generations = generations
        assert tune(freeze(tiny_config), tmp_path / "run")["generations"] == generations
    assert read(tmp_path / "run" / "config.json")["resolved"]["chunk"] == 12
