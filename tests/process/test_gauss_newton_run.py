"""Runs of the strategies that read answers, on the tiny model."""

import json

import pytest

from jaxalign.config import freeze
from jaxalign.errors import UserError
from jaxalign.problem import load_problem
from jaxalign.run.tune import tune


def losses(workdir):
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [line["countries"] for line in lines]


def test_a_resumed_run_equals_an_uninterrupted_one(tiny_config, tmp_path):
    tiny_config.country = "sa,us"
    tiny_config.search.strategy = "GaussNewton"
    tiny_config.search.population = 8
    tune(freeze(tiny_config), tmp_path / "whole")
    for generations in (2, 4):
        tiny_config.search.generations = generations
        tune(freeze(tiny_config), tmp_path / "resumed")
    assert losses(tmp_path / "resumed") == losses(tmp_path / "whole")
    for code in ("SA", "US"):
        prompts = [
            (tmp_path / name / "countries" / code / "soft_prompt.safetensors").read_bytes()
            for name in ("whole", "resumed")
        ]
        assert prompts[0] == prompts[1]
        first, *_, last = (each[code]["best_loss"] for each in losses(tmp_path / "whole"))
        assert last < first


@pytest.mark.parametrize(
    ("key", "value", "wrong"),
    [
        ("objective.readout", "sampled", "objective.readout=sampled; give expected"),
        ("survey.instrument", "example_opinions", "which has answer distributions"),
        ("objective.terms.survey", 0.0, "objective.terms.survey=0; give a number above 0"),
    ],
)
def test_scores_that_are_not_linear_are_refused(tiny_config, key, value, wrong):
    tiny_config.search.strategy = "GaussNewton"
    tiny_config.objective.terms.naive_distance = 1.0
    if key == "survey.instrument":
        tiny_config.survey.targets = value
    *rooms, name = key.split(".")
    room = tiny_config
    for each in rooms:
        room = room[each]
    room[name] = value
    with pytest.raises(UserError, match=r"search\.strategy='GaussNewton' models") as fault:
        load_problem(freeze(tiny_config))
    assert wrong in str(fault.value) and "\n" not in str(fault.value)
