"""What a run ends with: fresh respondents, a polish told apart, a Pareto front, a start for others.

All runs are made in this process on the tiny model.
"""

import csv
import json
import os
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from jaxalign.config import freeze
from jaxalign.errors import UserError
from jaxalign.problem import load_problem
from jaxalign.report import Steps
from jaxalign.run.engine import ask_naive
from jaxalign.run.initialization import first_prompts
from jaxalign.run.refine import DRAWS, polish
from jaxalign.run.tune import tune
from jaxalign.search import Draw, draw_key

TIMINGS = ("seconds", "tokens_per_second")
UNUSED = jax.random.key(0)  # expected answers draw nothing


def records(workdir: Path) -> list[dict]:
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in TIMINGS} for line in lines]


def prompt_of(workdir: Path, name: str = "soft_prompt") -> np.ndarray:
    return safetensors.numpy.load_file(workdir / f"{name}.safetensors")["prompt_embeddings"]


def evaluated(config, prompts_PLD):
    """What the loss function says of prompts, on its own, for a key."""
    problem = load_problem(freeze(config))
    task, _ = ask_naive(problem, config.evaluation.attention, config.seed)
    function = jax.jit(problem.evaluator())
    return lambda key: function(problem.weights, task, prompts_PLD, key=key)


@pytest.mark.nightly
def test_a_noisy_best_is_rescored_with_fresh_respondents(tiny_config, tmp_path):
    tiny_config.objective.readout = "sampled"
    tiny_config.objective.respondents = 10
    tiny_config.objective.reevaluate = 2
    tiny_config.search.generations = 5
    summary = tune(freeze(tiny_config), tmp_path / "whole")
    lines = records(tmp_path / "whole")
    assert summary["loss"]["search"] == lines[-1]["best_loss"]

    ask = evaluated(tiny_config, prompt_of(tmp_path / "whole")[None])
    fresh = [
        float(ask(jax.random.fold_in(jax.random.key(99), draw)).loss_GP[0, 0])
        for draw in range(200)
    ]
    error = np.std(fresh) * np.sqrt(1 / 200 + 1 / DRAWS)
    assert abs(summary["loss"]["best"] - np.mean(fresh)) < 4.5 * error
    rescored = summary["rescored"]
    assert rescored["draws"] == DRAWS and rescored["mean"] == summary["loss"]["best"]
    assert rescored["standard_deviation"] == pytest.approx(np.std(fresh), rel=0.35)
    # The search kept the luckiest: its own figure is below what the same prompt is worth.
    assert summary["loss"]["search"] < summary["loss"]["best"]
    # Told exactly: the mean over the draws of the run's own key.
    root = draw_key(tiny_config.seed, Draw.RESCORE)
    own = [float(ask(key).loss_GP[0, 0]) for key in jax.random.split(root, DRAWS)]
    assert summary["loss"]["best"] == pytest.approx(np.mean(own), rel=1e-3)

    for generations in (3, 5):
        tiny_config.search.generations = generations
        resumed = tune(freeze(tiny_config), tmp_path / "parts")
    for name in ("soft_prompt.safetensors", "population.safetensors"):
        parts, whole = tmp_path / "parts" / name, tmp_path / "whole" / name
        assert parts.read_bytes() == whole.read_bytes()
    assert records(tmp_path / "parts") == lines
    assert {k: v for k, v in resumed.items() if k not in TIMINGS} == {
        k: v for k, v in summary.items() if k not in TIMINGS
    }


@pytest.mark.nightly
@pytest.mark.parametrize("readout", ["expected", "sampled"])
def test_a_quantised_best_is_rescored_in_full_precision(tiny_config, tmp_path, capsys, readout):
    tiny_config.objective.readout = readout
    full = evaluated(tiny_config, np.zeros((1, 0, 32), np.float32))(jax.random.key(0))
    tiny_config.model.quantization = "int8"
    summary = tune(freeze(tiny_config), tmp_path)
    assert "int8, which moves the naive scores by" in capsys.readouterr().out
    assert summary["loss"]["search"] == records(tmp_path)[-1]["best_loss"]
    told = summary["quantization"]
    assert told["mode"] == "int8" and told["naive_loss"] != summary["loss"]["naive"]

    tiny_config.model.quantization = "none"
    best = evaluated(tiny_config, prompt_of(tmp_path)[None])(jax.random.key(0))
    if readout == "expected":
        assert summary["loss"]["naive"] == pytest.approx(float(full.loss_GP[0, 0]), rel=1e-4)
        assert summary["loss"]["best"] == pytest.approx(float(best.loss_GP[0, 0]), rel=1e-4)
        assert list(summary["scores"].values()) == pytest.approx(
            best.scores_PC[0].tolist(), abs=0.01
        )
        assert summary["loss"]["best"] != summary["loss"]["search"]
    else:
        assert summary["rescored"]["draws"] == DRAWS


def test_a_polish_lowers_the_loss_and_is_reported_apart(tiny_config, tmp_path):
    plain = tune(freeze(tiny_config), tmp_path / "plain")
    assert "polish" not in plain and "rescored" not in plain and "search" not in plain["loss"]
    assert not (tmp_path / "plain" / "soft_prompt_polished.safetensors").exists()
    assert not list((tmp_path / "plain").glob("pareto*"))  # one objective has no front

    tiny_config.search.polish = 15
    polished = tune(freeze(tiny_config), tmp_path / "polished")
    for name in ("soft_prompt.safetensors", "population.safetensors"):
        assert (tmp_path / "polished" / name).read_bytes() == (
            tmp_path / "plain" / name
        ).read_bytes()
    assert records(tmp_path / "polished") == records(tmp_path / "plain")
    told = polished.pop("polish")
    assert {k: v for k, v in polished.items() if k not in TIMINGS} == {
        k: v for k, v in plain.items() if k not in TIMINGS
    }
    assert told["steps"] == 15 and told["method"].startswith("gradient descent")
    assert 15 < told["forward_equivalents"] <= 15 * 4
    assert told["loss"] < plain["loss"]["best"]
    prompts = np.stack(
        [prompt_of(tmp_path / "polished"), prompt_of(tmp_path / "polished", "soft_prompt_polished")]
    )
    loss_P = np.asarray(evaluated(tiny_config, prompts)(UNUSED).loss_GP[0])
    np.testing.assert_allclose(loss_P, [plain["loss"]["best"], told["loss"]], rtol=1e-3)


def test_a_signal_stops_a_polish_that_goes_on_from_there(tiny_config, tmp_path, monkeypatch):
    tiny_config.search.polish, update = 15, Steps.update
    settings, polished = freeze(tiny_config), "soft_prompt_polished.safetensors"
    tune(settings, tmp_path / "whole")

    def interrupted(self, done, *told):
        update(self, done, *told)
        if done == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Steps, "update", interrupted)
    assert tune(settings, tmp_path / "stopped") is None
    assert not (tmp_path / "stopped" / polished).exists()
    monkeypatch.setattr(Steps, "update", update)
    tune(settings, tmp_path / "stopped")
    for name in (polished, "soft_prompt.safetensors"):
        found, wanted = (tmp_path / run / name for run in ("stopped", "whole"))
        assert found.read_bytes() == wanted.read_bytes()


def test_a_polish_keeps_the_limits(tiny_config, tiny_problem):
    tiny_config.search.max_norm = 0.8
    prompt_LD = first_prompts(freeze(tiny_config), tiny_problem)[0]
    polished = polish(freeze(tiny_config), tiny_problem, prompt_LD, 0, 10)
    norms_L = np.linalg.norm(polished.prompt_LD, axis=-1)
    assert (
        norms_L.max()
        <= 0.8 * tiny_problem.task.goal.row_norm
        < np.linalg.norm(prompt_LD, axis=-1).max()
    )
    assert polished.loss < polished.history_N[0]


@pytest.mark.nightly
def test_two_weighted_objectives_leave_a_front(tiny_config, tmp_path):
    tiny_config.objective.terms.naive_distance = 0.5
    tiny_config.search.strategy = "SHADE"
    summary = tune(freeze(tiny_config), tmp_path)
    assert summary["terms"]["weights"] == {"naive_distance": 0.5, "survey": 1.0}
    best = summary["terms"]["best"]
    weighted = best["survey"] + 0.5 * best["naive_distance"]
    assert summary["loss"]["best"] == pytest.approx(weighted, rel=1e-5)
    assert summary["terms"]["naive"]["naive_distance"] == 0.0
    assert summary["terms"]["naive"]["prompt_norm"] == 0.0

    with (tmp_path / "pareto.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = ("naive_distance", "survey")
    assert tuple(rows[0]) == ("prompt", *names)
    front = np.array([[float(row[name]) for name in names] for row in rows])
    prompts = safetensors.numpy.load_file(tmp_path / "pareto.safetensors")["prompts"]
    assert 1 <= len(front) == len(prompts) <= 16
    assert [int(row["prompt"]) for row in rows] == list(range(len(rows)))
    assert (np.diff(front[:, 0]) > 0).all() and (np.diff(front[:, 1]) < 0).all()

    result = evaluated(tiny_config, prompts)(UNUSED)
    terms = ("survey", "naive_distance", "prompt_norm")
    measured = np.asarray(result.terms_GPO[0])[:, [terms.index(name) for name in names]]
    np.testing.assert_allclose(measured, front, rtol=1e-3, atol=1e-3)
    # The best weighted sum that was seen is never beaten, so the front holds one as good.
    assert (front @ [0.5, 1.0]).min() == pytest.approx(summary["loss"]["best"], rel=1e-5)


@pytest.mark.nightly
def test_a_run_starts_from_the_prompt_or_population_of_another(tiny_config, tmp_path):
    first = tune(freeze(tiny_config), tmp_path / "first")
    tiny_config.search.generations = 1
    for init in ("soft_prompt.safetensors", ""):
        tiny_config.prompt.init = f"{tmp_path}/first/{init}"
        workdir = tmp_path / f"from-{init}"
        second = tune(freeze(tiny_config), workdir)
        start = records(workdir)[0]["best_loss"]
        assert second["loss"]["best"] <= start <= first["loss"]["best"] * (1 + 1e-5)
    assert start == pytest.approx(first["loss"]["best"], rel=1e-5)  # a population comes as it was
    members = safetensors.numpy.load_file(tmp_path / "first" / "population.safetensors")
    loss_P = np.asarray(evaluated(tiny_config, members["population"])(UNUSED).loss_GP[0])
    assert records(workdir)[0]["generation_mean"] == pytest.approx(loss_P.mean(), rel=1e-4)


def test_a_start_that_changed_is_another_run(tiny_config, tmp_path):
    tiny_config.search.generations = 1
    tune(freeze(tiny_config), tmp_path / "first")
    tiny_config.prompt.init = f"{tmp_path}/first/soft_prompt.safetensors"
    tune(freeze(tiny_config), tmp_path / "second")
    file = tmp_path / "first" / "soft_prompt.safetensors"
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"the file of prompt\.init changed"):
        tune(freeze(tiny_config), tmp_path / "second")
