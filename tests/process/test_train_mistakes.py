"""What the command refuses, and what it tells without a run."""

import json
import shutil
import subprocess
import sys

import pytest
from tiers import first
from train_command import EMBEDDED, ENVIRONMENT, assert_refused, invoke, run

from jaxalign.config import freeze
from jaxalign.errors import UserError
from jaxalign.run.tune import tune


def test_a_workdir_in_use_is_refused(tiny_folder, tmp_path):
    import fcntl

    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert_refused(run(tiny_folder, tmp_path), str(tmp_path), "another run")


@pytest.mark.parametrize(
    ("arguments", "words"),
    first(
        3,
        [
            ([], ["--config", "sa.py:embedded"]),
            (["--config=nowhere.py"], ["nowhere.py", "sa.py", "template.py"]),
            (["--config=sa.py:embeded"], ["embeded", ":embedded"]),
            ([EMBEDDED, "--config.search.populaton=8"], ["populaton", "population"]),
            ([EMBEDDED, "--config.search.population=many"], ["search.population", "many"]),
            ([EMBEDDED, "--config.search.population=3"], ["search.population=3", "4"]),
            ([EMBEDDED, "--config.country=XX"], ["XX", "SA", "US"]),
            ([EMBEDDED, "--config.country="], ["country", "SA"]),
            ([EMBEDDED, "--config.survey.targets=best"], ["best", "hofstede2010", "newer"]),
            ([EMBEDDED, "--config.survey.instrument=no.yaml"], ["no.yaml", "vsm13"]),
            ([EMBEDDED, "--config.survey.constant=(1,2)"], ["survey.constant", "PDI"]),
            ([EMBEDDED, "--config.search.strategy=DE"], ["DE", "DifferentialEvolution"]),
            (
                [
                    EMBEDDED,
                    "--config.search.strategy=DifferentialEvolution",
                    "--config.search.strategy_params={'F': 0.5}",
                ],
                ["search.strategy_params.F", "differential_weight"],
            ),
            ([EMBEDDED, "--config.objective.readout=guess"], ["objective.readout", "expected"]),
            ([EMBEDDED, "--config.prompt.length=4000"], ["4", "2048"]),
            (
                ["--config=sa.py", "--config.model.path=./nowhere"],
                ["nowhere", "local folder", "hub id", "HF_TOKEN", ":embedded"],
            ),
            ([EMBEDDED, "--config.model.path=/etc"], ["/etc"]),
            ([EMBEDDED, "--workdir=/proc/nothing"], ["/proc/nothing", "--workdir"]),
            ([EMBEDDED, "surplus"], ["surplus"]),
            ([EMBEDDED, "--profile=5"], ["--profile=5", "START:STOP"]),
        ],
    ),
    ids=lambda value: value[-1][:40] if isinstance(value, list) and value else "nothing",
)
def test_mistakes_are_told_in_one_line(arguments, words, tmp_path):
    result = invoke(*arguments, cwd=tmp_path)
    assert_refused(result, *words)
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_a_broken_config_file(tmp_path):
    (tmp_path / "mine.py").write_text("def get_config(variant=''):\n    return 1 +\n")
    assert_refused(invoke("--config=mine.py", cwd=tmp_path), "mine.py", "invalid syntax")


def test_a_truncated_model(tiny_folder, tiny_config, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    tiny_config.model.path = str(folder)
    with pytest.raises(UserError, match=r"^[^\n]*model\.safetensors[^\n]*$"):
        tune(freeze(tiny_config), tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


def test_the_first_question_is_shown_without_reading_weights(tiny_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    result = invoke(EMBEDDED, f"--config.model.path={folder}", "--show_prompt", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (
        "[soft prompt: 9 rows]<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
        "Suppose you were free to pick the work that suits you best. Rate what it should offer.\n"
        "1 = essential\n2 = important\n3 = moderately important\n4 = slightly important\n"
        "5 = unimportant\nReply with the number of one option only.\n"
        "hours that leave room for family and home<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n\n"
    )


@pytest.mark.nightly
def test_evaluate_shows_the_first_question_of_a_recorded_config(tiny_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (tmp_path / "config.json").write_text(
        json.dumps({"config": {"country": "SA", "model": {"path": str(folder)}}})
    )
    again = subprocess.run(
        [sys.executable, "-m", "jaxalign.evaluate", f"--workdir={tmp_path}", "--show_prompt"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=100,
    )
    assert (again.returncode, again.stderr) == (0, "")
    result = invoke(EMBEDDED, f"--config.model.path={folder}", "--show_prompt", cwd=tmp_path)
    assert again.stdout.partition("]")[2] == result.stdout.partition("]")[2]


def test_help_is_no_mistake(tmp_path):
    result = invoke("--help", cwd=tmp_path)
    assert result.returncode == 0
    assert "--config" in result.stdout and "--workdir" in result.stdout


def test_a_flag_is_left_out_in_every_form():
    from jaxalign.cli import without_flag

    given = ["--a=1", "--workdir", "x y", "-workdir=z", "--workdir=w", "--b", "workdir"]
    assert without_flag(given, "workdir") == ["--a=1", "--b", "workdir"]
