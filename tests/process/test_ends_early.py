"""Runs that end before their last generation, on the tiny model."""

import json

from jaxalign.config import freeze
from jaxalign.run.tune import tune
from jaxalign.status import describe


def records(workdir):
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [(line["generation"], line["best_loss"]) for line in lines]


def test_ends_early_resumes_to_the_same_and_can_be_lengthened(tiny_config, tmp_path):
    tiny_config.country = "sa,us"
    tiny_config.search.stop_loss = 5.0  # every loss is small enough
    summary = tune(freeze(tiny_config), tmp_path)
    assert summary["generations"] == 1  # the record of generation 0 is read one step late
    assert summary["early_end"] == {"by": "stop_loss", "stop_loss": 5.0, "patience": 0}
    before = records(tmp_path)
    assert [generation for generation, _ in before] == [0, 1]
    run = describe(tmp_path, 0.0)
    assert (run["state"], run["early_end"], run["generations"]) == ("done", "stop_loss", 4)
    assert "ended early by search.stop_loss" in (tmp_path / "report" / "index.html").read_text()

    assert tune(freeze(tiny_config), tmp_path)["early_end"]["by"] == "stop_loss"
    assert records(tmp_path) == before
    tiny_config.search.stop_loss = 0.0
    longer = tune(freeze(tiny_config), tmp_path)
    assert (longer["generations"], "early_end" in longer) == (4, False)
    assert records(tmp_path)[:2] == before


def test_stopped_and_resumed_ends_where_an_uninterrupted_run_does(tiny_config, tmp_path):
    tiny_config.search.patience = 1
    tiny_config.search.generations = 30
    whole = tune(freeze(tiny_config), tmp_path / "whole")
    assert whole["early_end"]["by"] == "patience"
    assert 1 < whole["generations"] < 30
    for generations in (whole["generations"] - 1, 30):
        tiny_config.search.generations = generations
        resumed = tune(freeze(tiny_config), tmp_path / "resumed")
    assert resumed["generations"] == whole["generations"]
    assert records(tmp_path / "resumed") == records(tmp_path / "whole")
