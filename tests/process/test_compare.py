"""The comparison, through the command: its files, its budget, killed, and what it refuses."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiers import first

from jaxalign.compare.comparison import _changes, compare
from jaxalign.compare.methods import load_methods, with_method
from jaxalign.config import base, freeze, from_plain, to_plain
from jaxalign.errors import UserError
from jaxalign.report.comparison import read_runs
from jaxalign.run.heartbeat import hold
from jaxalign.run.tune import tune
from jaxalign.search import generations_for

ENVIRONMENT = os.environ | {"JAX_PLATFORMS": "cpu", "COLUMNS": "200"}
EVALUATIONS, POPULATION, COUNTRIES = 60, 6, ("SA", "US")
METHODS = """
ours:
  search.strategy: DifferentialEvolution
shrinking:
  search.strategy: LSHADE
  search.strategy_params: {memory_size: 4}
SNES in a subspace:
  search.strategy: SNES
  search.space: subspace
  search.dimension: 5
scipy:
  outside: scipy
cma:
  outside: cma
gradient:
  outside: gradient
"""
KINDS = {
    "ours": "evosax",
    "shrinking": "ours",
    "SNES in a subspace": "evosax",
    "scipy": "outside",
    "cma": "outside",
    "gradient": "gradient",
}


def command(folder: Path, output: Path, methods: Path | str) -> list[str]:
    settings = {
        "model.path": folder,
        "prompt.length": 3,
        "objective.formats": "identity",
        "search.strategy": "DifferentialEvolution",
        "search.population": POPULATION,
        "evaluation.chunk": 3,
    }
    return [
        *(sys.executable, "-m", "jaxalign.compare", "--config=sa.py:embedded"),
        *(f"--methods={methods}", "--countries=sa,us", "--seeds=1"),
        *(f"--evaluations={EVALUATIONS}", f"--output={output}"),
        *(f"--config.{key}={value}" for key, value in settings.items()),
    ]


def run(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, env=ENVIRONMENT, timeout=280
    )


@pytest.fixture(scope="module")
def methods(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("methods") / "mine.yaml"
    path.write_text(METHODS)
    return path


@pytest.fixture(scope="module")
def whole(tiny_folder, methods, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("compare") / "made" / "here"
    result = run(tiny_folder, output, methods)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "12/12" in result.stdout and "forward passes" not in result.stderr
    return output


def test_what_it_leaves(whole):
    names = {"histories.csv", "summary.csv", "table.md", "comparison.json", ".lock"}
    names |= {f"{plot}.{end}" for plot in ("finals", "curves") for end in ("png", "svg")}
    assert {path.name for path in whole.iterdir()} == names
    with (whole / "summary.csv").open() as file:
        assert {row["method"] for row in csv.DictReader(file)} == set(KINDS)
    table = (whole / "table.md").read_text()
    assert all(label in table for label in KINDS)
    record = json.loads((whole / "comparison.json").read_text())
    assert record["evaluations"] == EVALUATIONS and set(record["methods"]) == set(KINDS)


def test_every_search_is_there_once_and_within_its_budget(whole):
    runs = read_runs(whole / "histories.csv")
    expected = {(label, country, 0) for label in KINDS for country in COUNTRIES}
    assert {each.name for each in runs} == expected and len(runs) == len(expected)
    for each in runs:
        assert each.kind == KINDS[each.method]
        evaluations, losses = map(np.array, zip(*each.points, strict=True))
        assert evaluations[0] == POPULATION
        assert EVALUATIONS / 2 < evaluations[-1] <= EVALUATIONS
        assert (np.diff(evaluations) > 0).all() and (np.diff(losses) <= 0).all()
        assert losses[0] == each.initial_loss < np.inf
        assert each.forward_equivalents <= EVALUATIONS
    for country in COUNTRIES:  # one first population for all that search the full space
        own = [each for each in runs if each.country == country and "subspace" not in each.method]
        first = {round(each.initial_loss, 3) for each in own}
        assert len(first) == 1 and len({each.naive_loss for each in own}) == 1


@pytest.mark.nightly
@pytest.mark.parametrize("label", first(1, ["ours", "shrinking", "SNES in a subspace"]))
def test_a_search_equals_the_same_search_by_train(whole, methods, tiny_config, tmp_path, label):
    tiny_config.update_from_flattened_dict(
        {k: v for k, v in load_methods(str(methods))[label].items() if "params" not in k}
    )
    if label == "shrinking":
        tiny_config.search.strategy_params.memory_size = 4
    strategy = tiny_config.search.strategy
    tiny_config.search.generations = generations_for(strategy, POPULATION, EVALUATIONS, {})
    tune(freeze(tiny_config), tmp_path)
    lines = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    told = [(line["evaluations"], np.float32(line["best_loss"])) for line in lines]
    (compared,) = (
        each
        for each in read_runs(whole / "histories.csv")
        if each.name == (label, "SA", tiny_config.seed)
    )
    points = [(evaluations, np.float32(loss)) for evaluations, loss in compared.points]
    assert points == told


@pytest.mark.nightly
def test_a_killed_comparison_goes_on_without_repeating(whole, methods, tiny_folder, tmp_path):
    output = tmp_path / "killed"
    process = subprocess.Popen(
        command(tiny_folder, output, methods),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    histories, deadline = output / "histories.csv", time.monotonic() + 250
    while not (histories.exists() and len(read_runs(histories)) >= 3):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate()
    done = [each.name for each in read_runs(histories)]
    assert 3 <= len(done) < 12
    result = run(tiny_folder, output, methods)
    assert result.returncode == 0, result.stderr
    searched = [line for line in result.stdout.splitlines() if "/12  " in line]
    assert len(searched) == 12 - len(done)
    assert histories.read_bytes() == (whole / "histories.csv").read_bytes()
    assert (output / "table.md").read_bytes() == (whole / "table.md").read_bytes()


def again(tiny_config, methods, whole, tmp_path, evaluations=EVALUATIONS) -> Path:
    """The same comparison once more, in this process, on a copy of its folder."""
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    # The folder was made by the command, whose config has other defaults than the tests'.
    tiny_config.search.generations = base("embedded").search.generations
    tiny_config.country = "sa,us"
    compare(freeze(tiny_config), methods, range(1), evaluations, folder)
    return folder


def test_a_whole_comparison_is_told_again(whole, methods, tiny_config, tmp_path):
    folder = again(tiny_config, load_methods(str(methods)), whole, tmp_path)
    assert (folder / "histories.csv").read_bytes() == (whole / "histories.csv").read_bytes()
    assert (folder / "comparison.json").read_bytes() == (whole / "comparison.json").read_bytes()


def assert_refused(fault: pytest.ExceptionInfo, *words: str) -> None:
    line = str(fault.value)
    assert "\n" not in line and all(word in line for word in words), line


def test_other_settings_are_refused(whole, methods, tiny_config, tmp_path):
    mine = load_methods(str(methods))
    with pytest.raises(UserError) as fault:
        again(tiny_config, mine, whole, tmp_path, evaluations=66)
    assert_refused(fault, "--output=", "--evaluations was 60")
    tiny_config.objective.norm = "l2"
    with pytest.raises(UserError) as fault:
        again(tiny_config, mine, whole, tmp_path / "l2")
    assert_refused(fault, "objective.norm was 'l1'", "give another --output")
    tiny_config.objective.norm = "l1"
    changed = mine | {"ours": {"search.strategy": "SHADE"}}
    with pytest.raises(UserError) as fault:
        again(tiny_config, changed, whole, tmp_path / "changed")
    assert_refused(fault, "the keys of 'ours' changed")


@pytest.mark.parametrize(
    ("keys", "words"),
    first(
        3,
        [
            ({"search.strategy": "DE"}, ["'DE'", "DifferentialEvolution"]),
            ({"search.populaton": 6}, ["--methods: mine:", "search.populaton"]),
            ({"search.population": "six"}, ["mine", "search.population='six'"]),
            (
                {"search.space": "sub"},
                ["--methods: mine:", "search.space='sub'", "full or subspace or texts"],
            ),
            ({"search.strategy_params": {"F": 0.5}}, ["search.strategy_params.F"]),
            ({"search.population": 3}, ["--methods: mine:", "search.population=3", "at least 4"]),
            ({"search.population": 61}, ["--evaluations=60", "61"]),
            ({"country": "us"}, ["--methods: mine: country:", "the same for all methods"]),
            ({"objective.readout": "sampled"}, ["objective.readout:", "the same for all methods"]),
            ({"search.generations": 5}, ["search.generations:", "the same for all methods"]),
            ({"prompt.init": "./lost.safetensors"}, ["lost.safetensors", "cannot read it"]),
            ({"outside": "gradient", "search.population": 59}, ["--evaluations=60", "a gradient"]),
        ],
    ),
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_method_is_refused(tiny_config, tmp_path, keys, words):
    with pytest.raises(UserError) as fault:
        compare(freeze(tiny_config), {"mine": keys}, range(1), EVALUATIONS, tmp_path / "out")
    assert_refused(fault, *words)
    assert not (tmp_path / "out" / "histories.csv").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    first(
        3,
        [
            (None, ["cannot be read", "No such file"]),
            ("a: [", ["not valid YAML"]),
            ("- a\n- b", ["must map labels to config keys"]),
            ("a: 3", ["'a' must map config keys to values"]),
            ("a: {outside: nowhere}", ["outside='nowhere'", "scipy or cma or gradient"]),
            ("", ["must map labels"]),
            ('"": {search.strategy: SHADE}', ["label ''", "one line of text"]),
            ('"a\\nb": {search.strategy: SHADE}', ["one line of text"]),
        ],
    ),
)
def test_a_wrong_file_of_methods_is_refused(tmp_path, content, words):
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as fault:
        load_methods(str(path))
    assert_refused(fault, str(path), *words)


def test_packaged_methods_by_label():
    everything = load_methods("all")
    assert len(everything) > 10 and list(load_methods("SHADE, JADE")) == ["SHADE", "JADE"]
    for given in ("nothing", "SHADE,nothing", ""):
        with pytest.raises(UserError) as fault:
            load_methods(given)
        assert_refused(fault, f"--methods={given}", "some of:", "L-SHADE")


def test_a_comparison_of_before_a_key_was_added_goes_on():
    config = to_plain(from_plain({"country": "SA", "search": {"stop_loss": 0.0}}))
    new = {"evaluations": 8, "config": config, "digests": {}, "targets": {}, "methods": {}}
    new["files"] = {}
    old = json.loads(json.dumps(new))
    del old["config"]["search"]["stop_loss"], old["config"]["model"]["chat_template"]
    assert _changes(old, new) == []
    old["config"]["objective"]["norm"] = "l2"
    assert _changes(old, new) == ["objective.norm was 'l2'"]


def test_a_method_by_the_beginning_of_its_label():
    for typed, label in (
        ("Gauss-Newton", "Gauss-Newton (default)"),  # without the remark in brackets
        ("gradient", "gradient (Adam)"),
        ("rand", "random search"),
        ("sep-cma", "Sep-CMA-ES"),
        ("L-SHADE", "L-SHADE"),  # whole, though others begin with it
    ):
        assert list(load_methods(typed)) == [label]
    with pytest.raises(UserError, match=r"'jDE' may be any of: jDE rand/1, jDE best/1$"):
        load_methods("SHADE,jDE")


def test_the_command_refuses_an_unknown_method_in_one_line(tiny_folder, tmp_path):
    result = run(tiny_folder, tmp_path / "out", "nothing")
    assert result.returncode == 2, result.stdout + result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: --methods=nothing") and "L-SHADE" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.nightly
def test_random_weights_of_a_shape(tiny_config, tmp_path, small_shape):
    method = {"mine": {"search.strategy": "DifferentialEvolution"}}
    for shape, seed in ((small_shape, 0), (small_shape, 0), (None, 0), (small_shape, 1)):
        tiny_config.seed = seed
        if (shape, seed) == (small_shape, 0):
            compare(freeze(tiny_config), method, range(1), EVALUATIONS, tmp_path, shape)
            (run,) = read_runs(tmp_path / "histories.csv")
            assert run.points[-1][1] < run.initial_loss
        else:
            with pytest.raises(UserError) as fault:
                compare(freeze(tiny_config), method, range(1), EVALUATIONS, tmp_path, shape)
            assert_refused(fault, "model.", small_shape if seed == 0 else "model.seed was 0")


@pytest.mark.nightly
def test_a_shrinking_plan_of_the_users_own_stays_within_the_budget(tiny_config, tmp_path):
    params = {"max_evaluations": 1000}
    keys = {"search.strategy": "LSHADE", "search.strategy_params": params}
    compare(freeze(tiny_config), {"mine": keys}, range(1), EVALUATIONS, tmp_path)
    (run,) = read_runs(tmp_path / "histories.csv")
    assert EVALUATIONS - POPULATION < run.points[-1][0] <= EVALUATIONS


def test_another_strategy_does_not_inherit_numbers(tiny_config):
    tiny_config.search.strategy_params = {"differential_weight": 0.7}
    keys = {"search.strategy": "SHADE"}
    assert not with_method(freeze(tiny_config), "mine", keys).search.strategy_params
    keys = {"search.population": 8}
    params = with_method(freeze(tiny_config), "mine", keys).search.strategy_params
    assert params == {"differential_weight": 0.7}


def test_a_changed_file_is_another_comparison(tiny_config, tmp_path):
    own = tmp_path / "mine.py"
    own.write_text("from jaxalign.search.random_search import RandomSearch\n")
    methods = {"mine": {"search.strategy": f"{own}:RandomSearch"}}
    compare(freeze(tiny_config), methods, range(1), 2 * POPULATION, tmp_path / "out")
    own.write_text(own.read_text() + "# another\n")
    with pytest.raises(UserError) as fault:
        compare(freeze(tiny_config), methods, range(1), 2 * POPULATION, tmp_path / "out")
    assert_refused(fault, "a file of 'mine' changed", "give another --output")


def test_a_record_that_is_none_of_ours_is_refused(tiny_config, tmp_path):
    (tmp_path / "comparison.json").write_text("{}")
    with pytest.raises(UserError) as fault:
        compare(freeze(tiny_config), load_methods("SHADE"), range(1), EVALUATIONS, tmp_path)
    assert_refused(fault, "comparison.json: cannot be read", "give another --output")


def test_a_folder_in_use_is_refused(tiny_config, tmp_path):
    """Two that write one file of histories would cut off each other's runs."""
    with hold(tmp_path, "--output"), pytest.raises(UserError) as fault:
        compare(freeze(tiny_config), load_methods("SHADE"), range(1), EVALUATIONS, tmp_path)
    assert_refused(fault, f"--output={tmp_path}", "another run is using it")


def test_a_naive_loss_of_nothing_is_refused(tiny_config, tmp_path):
    tiny_config.objective.terms.update(survey=0.0, prompt_norm=1.0)
    with pytest.raises(UserError) as fault:
        compare(freeze(tiny_config), load_methods("SHADE"), range(1), EVALUATIONS, tmp_path / "out")
    assert_refused(fault, "objective.terms", "above 0")
    assert not (tmp_path / "out").exists()


def test_a_gradient_is_of_expected_answers_only(tiny_config, tmp_path):
    tiny_config.objective.readout = "greedy"
    with pytest.raises(UserError) as fault:
        compare(
            freeze(tiny_config), load_methods("gradient (Adam)"), range(1), EVALUATIONS, tmp_path
        )
    assert_refused(fault, "objective.readout=greedy", "gradient (Adam)", "expected")


def test_lucky_losses_are_not_compared(tiny_config, tmp_path):
    tiny_config.objective.readout = "sampled"
    with pytest.raises(UserError) as fault:
        compare(freeze(tiny_config), load_methods("SHADE"), range(1), EVALUATIONS, tmp_path)
    assert_refused(fault, "objective.readout=sampled", "expected or greedy")
