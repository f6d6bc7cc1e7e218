"""The Python API: what a notebook gets, against the files of the same run."""

import gc
import json

import numpy as np
import pytest

import jaxalign

SMALL = {"prompt.length": 3, "evaluation.chunk": 3, "objective.formats": "identity"}


@pytest.fixture(scope="module")
def result(tiny_folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("api") / "run"
    return jaxalign.tune(
        "SA", model=str(tiny_folder), workdir=path, generations=2, population=6,
        settings=SMALL | {"model.dtype": "float32"},
    )  # fmt: skip


def test_a_result_is_what_the_files_say(result):
    summary = json.loads((result.path / "summary.json").read_text())
    assert result.loss == summary["loss"]["best"] and result.scores == summary["scores"]
    assert result.prompt.shape[0] == 3 and result.prompt.dtype == np.float32
    assert [record["generation"] for record in result.history] == [0, 1, 2]
    again = jaxalign.load(result.path)
    assert again.summary == result.summary and again.history == result.history


def test_asking_with_the_prompt_gives_the_scores_of_the_run(result, tiny_folder):
    tuned = jaxalign.ask(str(tiny_folder), prompt=result.prompt)
    assert tuned.scores == pytest.approx(result.scores, abs=0.01)
    naive = jaxalign.ask(str(tiny_folder))
    assert naive.scores == pytest.approx(result.summary["naive_scores"], abs=0.01)
    assert len(naive.items) == 24
    for item, options in naive.options.items():
        assert list(naive[item]) == list(options)
        assert sum(naive.probabilities[item]) == pytest.approx(1, abs=1e-5)


def test_a_survey_of_distributions_has_probabilities_and_no_scores(tiny_folder):
    answers = jaxalign.ask(str(tiny_folder), survey="example_opinions")
    assert not answers.scores
    assert {len(shares) for shares in answers.probabilities.values()} > {2}


def test_the_plot_shows_what_the_report_has_drawn(result):
    assert len(result.plot().axes) == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"country": "Atlantis"}, "Atlantis"),
        ({"country": "SA", "generations": 0}, "search.generations"),
        ({"country": "SA", "settings": {"search.poplation": 3}}, "poplation"),
    ],
)
def test_a_mistake_is_a_user_error_that_names_it(arguments, named):
    with pytest.raises(jaxalign.UserError, match=named):
        jaxalign.tune(**arguments)


def test_wrong_inputs_of_ask_and_load(tmp_path, tiny_folder):
    with pytest.raises(jaxalign.UserError, match="shape"):
        jaxalign.ask(str(tiny_folder), prompt=np.zeros((2, 5)))
    with pytest.raises(jaxalign.UserError, match=r"config\.json"):
        jaxalign.load(tmp_path)


@pytest.mark.nightly
def test_several_countries_in_a_temporary_workdir(tiny_folder):
    both = jaxalign.tune(
        "sa,us", model=str(tiny_folder), generations=1, population=4,
        settings=SMALL | {"model.dtype": "float32"},
    )  # fmt: skip
    assert list(both.countries) == ["SA", "US"]
    losses = [each.loss for each in both.countries.values()]
    assert both.loss == pytest.approx(np.mean(losses))
    with pytest.raises(jaxalign.UserError, match="SA, US"):
        _ = both.scores
    path, alone = both.path, both.countries["US"]
    assert (path / "summary.json").exists()
    del both
    gc.collect()
    assert not path.exists()
    assert alone.prompt.shape[0] == 3 and alone.scores


def test_every_public_name_is_there_and_no_other():
    assert all(getattr(jaxalign, name) for name in jaxalign.__all__)
    with pytest.raises(AttributeError, match="tuna"):
        _ = jaxalign.tuna
