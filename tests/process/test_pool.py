"""A run over a pool of presentations: what is chosen, resumed and told, on the tiny model."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from tiers import first

from jaxalign.config import freeze
from jaxalign.evidence.asking import Asker
from jaxalign.problem import load_problem
from jaxalign.prompts import ask_presentation
from jaxalign.run.tune import tune

TIMINGS = ("seconds", "tokens_per_second")


@pytest.fixture(params=first(1, [1, 0]), ids=lambda count: f"{count} at a time")
def pooled(tiny_config, request):
    tiny_config.country = "sa,us"
    tiny_config.objective.formats = "pool:2"
    tiny_config.search.generations = 5
    tiny_config.objective.at_a_time = request.param
    tiny_config.objective.reevaluate = 2
    return tiny_config


def records(workdir: Path) -> list[dict]:
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in TIMINGS} for line in lines]


def test_the_result_is_what_does_best_where_it_was_not_tuned(pooled, tmp_path):
    summary = tune(freeze(pooled), tmp_path / "whole")
    lines = records(tmp_path / "whole")
    problem = load_problem(freeze(pooled))
    asker = Asker(problem)

    def losses(prompt_LD, ways):
        asked = [one for way in ways for one in ask_presentation(way)]
        return asker.measure(asker.ask(asked, prompt_LD[None]), "l1")[1][:, 0]

    for index, code in enumerate(("SA", "US")):
        of_country = summary["countries"][code]
        chosen = [line["countries"][code]["chosen_loss"] for line in lines]
        assert chosen == sorted(chosen, reverse=True)
        folder = tmp_path / "whole" / "countries" / code
        (prompt_LD,) = safetensors.numpy.load_file(folder / "soft_prompt.safetensors").values()
        told = of_country["chosen"]
        assert told["formats"] == [way.name for way in problem.sets.choose]
        assert told["loss"] == chosen[-1]
        found = losses(prompt_LD, problem.sets.choose)[index]
        assert found == pytest.approx(told["loss"], abs=0.02)
        found = losses(prompt_LD, problem.sets.tune)[index]
        assert found == pytest.approx(of_country["loss"]["best"], abs=0.02)
        # It need not be the best where it was tuned.
        if not problem.task.turns:
            assert of_country["loss"]["best"] >= lines[-1]["countries"][code]["best_loss"]

    pooled.search.generations = 2
    tune(freeze(pooled), tmp_path / "resumed")
    pooled.search.generations = 5
    tune(freeze(pooled), tmp_path / "resumed")
    assert records(tmp_path / "resumed") == lines
    for code in ("SA", "US"):
        whole, resumed = (
            (tmp_path / run / "countries" / code / "soft_prompt.safetensors").read_bytes()
            for run in ("whole", "resumed")
        )
        assert whole == resumed


def test_a_search_ends_when_what_it_is_chosen_by_no_longer_falls(pooled, tmp_path):
    pooled.country = "sa"
    pooled.search.generations = 40
    pooled.search.patience = 2
    summary = tune(freeze(pooled), tmp_path)
    assert summary["early_end"]["by"] == "patience" and summary["generations"] < 40
    chosen = [line["chosen_loss"] for line in records(tmp_path)]
    best = [line["best_loss"] for line in records(tmp_path)]
    assert len(set(chosen[-4:-1])) == 1
    assert np.isfinite(best).all()
    page = (tmp_path / "report" / "index.html").read_text()
    assert "chosen by" in page
