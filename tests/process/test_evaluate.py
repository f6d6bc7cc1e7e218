"""An evaluation of a real run on the tiny model: its numbers, its parts, its mistakes."""

import csv
import json
import os
import shutil
import subprocess
import sys

import msgspec
import numpy as np
import pytest
import safetensors.numpy
from paths import ROOT

from jaxalign.errors import UserError
from jaxalign.evidence.runs import Options, evaluate_run
from jaxalign.evidence.siblings import find_siblings
from jaxalign.run.tune import tune

GROUPS = {"tuned", "reference", "text", "control"}


@pytest.fixture(scope="module")
def runs(tiny_folder, tmp_path_factory):
    """Finished runs side by side: SA, US, and SA with shuffled targets."""
    from jaxalign.config import base, freeze

    folder = tmp_path_factory.mktemp("runs")
    for name, country, shuffle in (("sa", "SA", 0), ("us", "US", 0), ("shuffled", "SA", 1)):
        config = base("embedded")
        config.country = country
        config.survey.shuffle = shuffle
        config.model.path = str(tiny_folder)
        config.prompt.length = 3
        config.search.strategy = "RandomSearch"  # compiles the fastest
        config.search.population = 6
        config.search.generations = 2
        config.objective.formats = "identity,reversed"
        tune(freeze(config), folder / name)
    return folder


@pytest.fixture(scope="module")
def evaluation(runs):
    return msgspec.to_builtins(evaluate_run(runs / "sa", Options(culturalbench="fixture")))


def named(evaluation, name):
    return next(row for row in evaluation["methods"] if row["name"] == name)


def test_the_losses_are_those_of_the_run(runs, evaluation):
    summary = json.loads((runs / "sa" / "summary.json").read_text())
    assert named(evaluation, "tuned")["loss"] == pytest.approx(summary["loss"]["best"], abs=0.02)
    assert named(evaluation, "naive")["loss"] == pytest.approx(summary["loss"]["naive"], abs=0.02)
    constant = named(evaluation, "constant answer")["loss"]
    assert constant == pytest.approx(summary["loss"]["constant"], abs=1e-3)
    for key, score in summary["scores"].items():
        assert named(evaluation, "tuned")["scores"][key] == pytest.approx(score, abs=0.02)


def test_every_method_has_what_a_table_needs(evaluation):
    names = [row["name"] for row in evaluation["methods"]]
    assert len(set(names)) == len(names)
    assert {"prompt of United States", "prompt of shuffled targets", "random prompt"} <= set(names)
    for row in evaluation["methods"]:
        assert row["group"] in GROUPS and set(row["scores"]) == set(evaluation["dimensions"])
        if row["name"] == "constant answer":
            assert row["interval"] is None
            continue
        low, high = row["interval"]
        assert low < high
        if row["name"] != "tuned":
            low, high = row["difference"]["interval"]
            assert low < high
            expected = named(evaluation, "tuned")["loss"] - row["loss"]
            assert row["difference"]["mean"] == pytest.approx(expected)
    low, high = named(evaluation, "persona (median)")["spread"]
    losses = [persona["loss"] for persona in evaluation["personas"]]
    assert (low, high) == (min(losses), max(losses))
    assert named(evaluation, "persona (best)")["loss"] == low
    assert sorted(losses)[(len(losses) - 1) // 2] == named(evaluation, "persona (median)")["loss"]


def test_formats_that_were_seen_give_the_loss_that_was_tuned(evaluation):
    rows = evaluation["robustness"]["rows"]
    tuned, test = ([row for row in rows if row["part"] == part] for part in ("tune", "test"))
    assert (
        [row["name"] for row in tuned] == evaluation["formats"]["seen"] == ["identity", "reversed"]
    )
    assert evaluation["formats"]["held_out"] == [row["name"] for row in test]
    for factor in test[0]["levels"]:
        assert not {row["levels"][factor] for row in test} & {
            row["levels"][factor] for row in tuned
        }
    for method in ("naive", "tuned"):
        losses = [row["methods"][method]["loss"] for row in tuned]
        summary = evaluation["robustness"]["summary"][method]
        assert np.mean(losses) == pytest.approx(named(evaluation, method)["loss"], abs=0.02)
        assert summary["seen"] == pytest.approx(np.mean(losses))
        held_out = {r["name"]: r["methods"][method]["loss"] for r in test}
        assert summary["held_out"] == pytest.approx(np.mean(list(held_out.values())))
        assert held_out[summary["worst_name"]] == summary["worst"] == max(held_out.values())


def test_the_table_of_answers_adds_up(evaluation):
    items = evaluation["answers"]["items"]
    assert len(items) == 24
    for item in items:
        for method in ("naive", "tuned"):
            cell = item[method]
            assert sum(cell["shares"]) == pytest.approx(1, abs=1e-4)
            assert cell["mean"] == pytest.approx(np.dot(cell["shares"], item["values"]), abs=1e-3)
            assert 0 <= cell["off_scale"] <= 1 and 0 <= cell["entropy"] <= np.log(5) + 1e-4
    for method, told in evaluation["answers"]["methods"].items():
        outcomes = [told[name] for name in ("agree", "disagree", "refusal", "unparsed")]
        assert sum(outcomes) == 24
        assert told["agree"] == sum(item[method]["agrees"] is True for item in items)


def test_sampling_errors_are_near_the_formulas_and_fall_with_the_root_of_n(evaluation):
    rows = {(row["method"], row["n"]): row for row in evaluation["respondents"]}
    assert {size for _, size in rows} == {1, 5, 20, 50}
    for key in evaluation["dimensions"]:
        for size in (1, 5, 20, 50):
            cell = rows["tuned", size]["dimensions"][key]
            assert cell["sampling_sd"] == pytest.approx(cell["formula_sd"], rel=0.1)
        one, fifty = (rows["tuned", size]["dimensions"][key]["formula_sd"] for size in (1, 50))
        assert one / fifty == pytest.approx(np.sqrt(50))


def test_countries_are_scored_against_each_other(runs, evaluation):
    countries = evaluation["countries"]
    assert countries["codes"] == ["SA", "US"] and countries["reference"] == "US"
    matrix = np.array(countries["matrix"])
    assert matrix[0, 0] == pytest.approx(named(evaluation, "tuned")["loss"], abs=0.02)
    other = named(evaluation, "prompt of United States")["loss"]
    assert matrix[1, 0] == pytest.approx(other, abs=0.02)
    us = json.loads((runs / "us" / "summary.json").read_text())
    assert matrix[1, 1] == pytest.approx(us["loss"]["best"], abs=0.02)


def test_the_verdict_tells_these_numbers(evaluation):
    first, second, third = evaluation["verdict"]
    beaten = named(evaluation, "tuned")["loss"] < min(
        row["loss"] for row in evaluation["methods"] if row["name"] != "tuned"
    )
    assert ("does not beat every baseline" in first) == (not beaten)
    assert str(len(evaluation["formats"]["held_out"])) in second
    assert "fixture" in third and "McNemar p" in third


def test_parts_are_kept_and_a_change_makes_them_anew(runs, evaluation, capsys):
    again = msgspec.to_builtins(evaluate_run(runs / "sa", Options(culturalbench="fixture")))
    told = capsys.readouterr().out
    assert told.count("kept from before") == 7
    without = {key: again[key] for key in again if key not in ("command", "date")}
    assert without == {key: evaluation[key] for key in without}
    (runs / "sa" / "evaluation" / "answers.json").write_text("{")
    evaluate_run(runs / "sa", Options(culturalbench="fixture"))
    assert capsys.readouterr().out.count("kept from before") == 6


def test_siblings_are_found_by_what_they_are(runs):
    record = json.loads((runs / "sa" / "config.json").read_text())
    prompt = safetensors.numpy.load_file(runs / "sa" / "soft_prompt.safetensors")
    shape = prompt["prompt_embeddings"].shape
    found = find_siblings(runs / "sa", None, shape, record["digests"])
    assert {(each.country, each.shuffled) for each in found} == {("US", False), ("SA", True)}
    assert not find_siblings(runs / "sa", None, (9, shape[1]), record["digests"])
    with pytest.raises(UserError, match=r"--siblings=.*nowhere.*has no config\.json"):
        find_siblings(runs / "sa", [str(runs / "nowhere")], shape, record["digests"])


def evaluate(*flags: str) -> subprocess.CompletedProcess:
    root = str(ROOT)
    return subprocess.run(
        [sys.executable, "-m", "jaxalign.evaluate", *flags],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.mark.nightly
def test_a_bare_prompt_is_evaluated_as_in_its_run(runs, evaluation, tiny_folder, tmp_path):
    own = runs / "sa"
    flags = [
        "--config=sa.py:embedded",
        f"--config.model.path={tiny_folder}",
        "--config.objective.formats=identity,reversed",
        f"--prompt={own / 'soft_prompt.safetensors'}",
    ]
    done = evaluate(*flags, f"--workdir={own}")
    assert done.returncode == 2 and "is a run, which has a prompt of its own" in done.stderr
    done = evaluate(*flags, f"--workdir={tmp_path / 'bare'}", "--culturalbench=none")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "bare" / "evaluation.json").read_text())
    for name in ("tuned", "naive", "persona (best)"):
        assert named(found, name)["loss"] == pytest.approx(named(evaluation, name)["loss"])
    assert found["culturalbench"] is None
    page = (tmp_path / "bare" / "report" / "index.html").read_text()
    assert "Saudi Arabia: a soft prompt, put to the test" in page
    # Both on one page.
    both, out = f"--compare={own},{tmp_path / 'bare'}", tmp_path / "out"
    assert evaluate(both).returncode == 2
    done = evaluate(both, f"--output={out}")
    assert done.returncode == 0, done.stderr
    lines = list(csv.DictReader((out / "comparison.csv").read_text().splitlines()))
    tuned = [float(x["value"]) for x in lines if (x["measure"], x["method"]) == ("loss", "tuned")]
    assert tuned == pytest.approx([named(evaluation, "tuned")["loss"]] * 2)
    assert "2 evaluated runs" in (out / "index.html").read_text()


@pytest.mark.nightly
def test_a_run_for_several_countries_is_evaluated_for_each(tiny_folder, tmp_path):
    from jaxalign.config import base, freeze

    config = base("embedded")
    config.country = "sa,us"
    config.model.path = str(tiny_folder)
    config.prompt.length, config.search.population, config.search.generations = 3, 6, 2
    tune(freeze(config), tmp_path / "run")
    done = evaluate(f"--workdir={tmp_path / 'run'}", "--culturalbench=none")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    for code in ("SA", "US"):
        (path,) = (tmp_path / "run" / "countries").glob(f"*{code}*/evaluation.json")
        found = json.loads(path.read_text())
        assert found["country"] == code
        best = summary["countries"][code]["loss"]["best"]
        assert named(found, "tuned")["loss"] == pytest.approx(best, abs=0.02)
        assert (path.parent / "report" / "index.html").exists()
        assert set(found["countries"]["codes"]) == {"SA", "US"}
    page = (tmp_path / "run" / "evaluation" / "index.html").read_text()
    assert "Saudi Arabia" in page and "United States" in page


def test_mistakes_get_one_line(runs, tmp_path):
    with pytest.raises(UserError, match=r"config\.json: not found"):
        evaluate_run(tmp_path, Options())
    with pytest.raises(UserError, match=r"--wordings=example_values: its items are not those"):
        evaluate_run(runs / "sa", Options(wordings=["example_values"]))
    changed = tmp_path / "changed"
    shutil.copytree(runs / "sa", changed, ignore=shutil.ignore_patterns("checkpoints", ".lock"))
    record = json.loads((changed / "config.json").read_text())
    record["digests"]["weights"] = "another"
    (changed / "config.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="the weights changed since the run"):
        evaluate_run(changed, Options())
