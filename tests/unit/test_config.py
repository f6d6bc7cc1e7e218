"""Every key of the base config: what it may be, and the one line that a wrong value earns."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import config_dict

from jaxalign.config import (
    base,
    freeze,
    from_plain,
    recorded,
    to_plain,
    with_keys,
    with_new_names,
)
from jaxalign.errors import UserError
from jaxalign.files import local_path
from jaxalign.problem import load_problem
from jaxalign.run.tune import tune
from jaxalign.settings import INITIAL, SMOLLM2_FILE, country_names


def embedded(**keys) -> config_dict.ConfigDict:
    config = base("embedded")
    config.country = "SA"
    config.update_from_flattened_dict({key.replace("__", "."): keys[key] for key in keys})
    return config


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("SA", ["SA"]),
        ("sa,cn", ["sa", "cn"]),
        (" Saudi Arabia , us ", ["Saudi Arabia", "us"]),
        ("[sa, cn]", ["sa", "cn"]),
        ("('SA', \"CN\")", ["SA", "CN"]),
        (("SA", "CN"), ["SA", "CN"]),
        (["SA", "CN", "SA"], ["SA", "CN"]),
        ("sa,,cn,", ["sa", "cn"]),
        ("all", ["all"]),
    ],
)
def test_countries_may_be_written_in_many_ways(value, names):
    assert country_names(value) == names
    freeze(embedded(country=value))


@given(st.lists(st.sampled_from(["sa", "SA", "cn", "Cn", "us", "India"]), min_size=1))
def test_each_country_counts_once(names):
    found = country_names(",".join(names))
    assert found == country_names(tuple(names))
    folded = [name.casefold() for name in found]
    assert folded == list(dict.fromkeys(name.casefold() for name in names))


@pytest.mark.parametrize("value", ["", " ", ",", "[]", (), 5, None, ("SA", 3)])
def test_a_wrong_country_is_refused(value):
    config = base("embedded")
    config.country = value
    assert country_names(value) == []
    with pytest.raises(UserError, match=r"^config: country=.*SA, several with commas.*`all`"):
        freeze(config)


def test_an_alias_and_a_code_are_one_country(tiny_config):
    tiny_config.country = "sa,Saudi Arabia,US"
    assert [target.code for target in load_problem(freeze(tiny_config)).targets] == ["SA", "US"]


@pytest.mark.parametrize("value", ["all", "ALL"])
def test_all_is_every_country_of_the_targets(tiny_config, value):
    from jaxalign.survey import load_targets

    tiny_config.country = value
    problem = load_problem(freeze(tiny_config))
    known = load_targets("hofstede2010", tuple(problem.instrument.dimensions))
    assert [target.code for target in problem.targets] == list(known)
    assert problem.task.goal.target_GC.shape == (len(known), 6) and len(known) > 20


def test_the_base_config_lacks_only_a_country():
    for variant in ("", "embedded"):
        config = base(variant)
        with pytest.raises(UserError) as fault:
            freeze(config)
        assert str(fault.value).startswith("config: country=''") and ";" not in str(fault.value)
        config.country = "SA"
        freeze(config)


@pytest.mark.parametrize(
    "init",
    ["texts", "diverse", "mixtures", "vocabulary", "normal", "x.safetensors", "runs/a", "~/a/b"],
)
def test_where_a_search_may_start(init):
    freeze(embedded(prompt__init=init))


@pytest.mark.parametrize("init", [*INITIAL, "a/workdir"])
def test_a_space_of_texts_starts_at_its_texts(init):
    config = embedded(prompt__init=init, search__space="texts")
    if init in ("texts", "diverse"):
        freeze(config)
    else:
        with pytest.raises(UserError, match=r"^config: prompt.init=.* must be texts or diverse"):
            freeze(config)


WRONG = {
    "seed": -1,
    "prompt.length": 0,
    "prompt.init": "text",
    "prompt.position": "last",
    "search.space": "sub",
    "search.dimension": 0,
    "search.population": 0,
    "search.generations": 0,
    "search.bounds": "tight",
    "search.max_norm": -0.5,
    "search.migrants": -1,
    "search.polish": -1,
    "objective.readout": "guess",
    "objective.respondents": 0,
    "objective.norm": "l3",
    "objective.reevaluate": -1,
    "evaluation.chunk": -1,
    "checkpoint.every": 0,
    "checkpoint.keep": -1,
    "mesh.population": -1,
    "mesh.model": -1,
}


def assert_one_line(fault: pytest.ExceptionInfo, *words: str) -> None:
    line = str(fault.value)
    assert "\n" not in line and all(word in line for word in words), line


@pytest.mark.parametrize(("key", "value"), WRONG.items())
def test_a_wrong_value_names_its_key_and_what_would_be_right(key, value):
    config = embedded()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match="must be") as fault:
        freeze(config)
    assert_one_line(fault, f"config: {key}={value!r}")
    assert str(fault.value).count("; ") == 0


@pytest.mark.parametrize("key", ["search.max_norm", "objective.terms.survey"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(key, value):
    config = embedded()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=r"^config: ") as fault:
        freeze(config)
    assert_one_line(fault, key.removesuffix(".survey"))


def test_all_faults_are_reported_together():
    config = embedded(search__space="sub", search__polish=-1, prompt__init="text")
    with pytest.raises(UserError) as fault:
        freeze(config)
    assert_one_line(fault, "search.space", "search.polish", "prompt.init", "; ")


@pytest.mark.parametrize(
    "weights",
    [
        {"survey": -1.0},
        {"survey": 0.0},
        {"survey": 0.0, "naive_distance": 0.0},
        {"prompt_norm": -0.1},
    ],
)
def test_weights_of_objectives_are_not_negative_and_not_all_zero(weights):
    config = embedded()
    config.objective.terms.update(weights)
    with pytest.raises(UserError, match=r"^config: objective\.terms.* must be .*0"):
        freeze(config)


def test_an_unknown_objective_is_refused():
    config = embedded()
    config.objective.terms.niceness = 1.0
    with pytest.raises(UserError, match=r"objective\.terms") as fault:
        freeze(config)
    assert_one_line(fault, "niceness", "survey")


@pytest.mark.parametrize("variant", ["", "embedded"])
def test_plain_values_and_back(variant):
    config = base(variant)
    config.country, config.survey.constant = ("SA", "US"), (1.0, 2)
    settings = freeze(config)
    assert to_plain(settings) == json.loads(config.to_json())
    assert from_plain(to_plain(settings)) == settings
    assert settings.country == ("SA", "US") and settings.model.path == config.model.path


def test_some_keys_replaced():
    settings = freeze(embedded())
    changed = with_keys(settings, {"search.max_norm": 2, "objective.terms.survey": 3, "seed": 1})
    assert (changed.search.max_norm, changed.objective.terms.survey, changed.seed) == (2.0, 3.0, 1)
    assert settings.search.max_norm == 0.0 and changed.prompt == settings.prompt
    for key, value in {"search.none": 1, "none.of": 1, "search": 1, "seed": "1"}.items():
        with pytest.raises(UserError, match=f"config: {key.split('.')[0]}"):
            with_keys(settings, {key: value})


# What only the files or the model can tell; each is refused before a folder is made.
LATE = {
    "prompt.init": ("no/such.safetensors", "cannot read it"),
    "prompt.texts": ("no.yaml", "no.yaml"),
    "search.strategy": ("DE", "DifferentialEvolution"),
    "search.population": (3, "needs at least 4"),
    "country": ("sa,atlantis", "atlantis"),
    "objective.terms.culturalbench_nll": (1.0, "objective.culturalbench"),
    "objective.culturalbench": ("no.csv", "no.csv"),
}


@pytest.mark.parametrize(("key", "case"), LATE.items())
def test_what_the_files_refuse_leaves_no_folder(tiny_config, tmp_path, key, case):
    value, words = case
    tiny_config.update_from_flattened_dict({key: value})
    freeze(tiny_config)
    with pytest.raises(UserError) as fault:
        tune(freeze(tiny_config), tmp_path / "run")
    assert_one_line(fault, words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("space", "dimension"), [("subspace", 97), ("texts", 1)])
def test_a_dimension_out_of_range_leaves_no_folder(tiny_config, tmp_path, space, dimension):
    tiny_config.search.space, tiny_config.search.dimension = space, dimension
    with pytest.raises(UserError, match=r"dimension|at least 2 texts") as fault:
        tune(freeze(tiny_config), tmp_path / "run")
    assert_one_line(fault, f"search.space={space}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["search.space=sub", "country=[]"], ["search.space", "full or subspace or texts", "SA"]),
        (["objective.terms.niceness=1"], ["niceness"]),
    ],
    ids=["values", "term"],
)
def test_the_command_says_so_in_one_line(tmp_path, flags, words):
    result = subprocess.run(
        [sys.executable, "-m", "jaxalign.train", "--config=sa.py:embedded"]
        + [f"--config.{flag}" for flag in flags],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        timeout=100,
    )
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ") and all(word in line for word in words), line
    assert list(tmp_path.iterdir()) == []


def test_a_renamed_key_is_refused_with_its_new_name_and_mapped_in_a_record():
    plain = json.loads(base("embedded").to_json()) | {"country": "SA"}
    plain["objective"]["benchmark"] = plain["objective"].pop("culturalbench")
    plain["objective"]["terms"]["benchmark_nll"] = 0.5
    with pytest.raises(UserError, match=r"objective\.benchmark.* objective\.culturalbench"):
        from_plain(plain)
    settings = from_plain(with_new_names(plain))
    assert settings.objective.terms.culturalbench_nll == 0.5


def test_a_record_of_another_version():
    """A missing key is what was done then; an unknown one, or no record at all, names the file."""
    plain = to_plain(from_plain({"country": "SA", "search": {"stop_loss": 0.5}}))
    file = Path("run/config.json")
    assert recorded({"config": plain}, file).search.stop_loss == 0.5
    del plain["search"]["stop_loss"], plain["search"]["patience"], plain["model"]["chat_template"]
    then = recorded({"config": plain}, file)
    assert (then.search.stop_loss, then.search.patience, then.model.chat_template) == (0, 0, "")
    plain["search"]["ahead"] = 1
    for record, said in (
        ({"config": plain}, "search.ahead: unknown"),
        ({}, "is no record of a run"),
        ({"config": []}, "is no record of a run"),
    ):
        with pytest.raises(UserError, match=f"^run/config.json: .*{said}"):
            recorded(record, file)


def test_paths_of_this_machine(tmp_path):
    assert local_path("//data/run", "--workdir") == Path("/data/run")
    assert local_path("~/run", "--workdir") == Path.home() / "run"
    for typed in ("gs://bucket/run", "http://host/run", "s3:/bucket"):
        with pytest.raises(UserError, match=f"--workdir={typed} must be a folder of this machine"):
            local_path(typed, "--workdir")
    with pytest.raises(UserError, match="--workdir=~nobody-here/x: there is no user 'nobody-here'"):
        local_path("~nobody-here/x", "--workdir")


def test_the_variant_smollm2_takes_the_file_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert base("smollm2").model.path == "HuggingFaceTB/SmolLM2-135M-Instruct"
    file = tmp_path / "jaxalign" / "models" / SMOLLM2_FILE
    file.parent.mkdir(parents=True)
    file.touch()
    assert base("smollm2").model.path == str(file)
