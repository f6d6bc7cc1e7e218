"""The two example surveys tuned through the same functions as VSM13, without a change of code."""

import csv
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
from tiers import first

from jaxalign.benchmark.peer import check_objective
from jaxalign.config import freeze
from jaxalign.errors import UserError
from jaxalign.files import FORMAT
from jaxalign.fitness import loss_of_prompt
from jaxalign.problem import load_problem
from jaxalign.run.tune import tune
from jaxalign.survey import load_instrument

EXAMPLES = ("example_values", "example_opinions")


def configure(config, name: str):
    config.survey.instrument = config.survey.targets = name
    config.search.generations = 3
    return config


def read(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.fixture(params=first(1, EXAMPLES))
def example(request, tiny_config):
    return configure(tiny_config, request.param)


def test_three_generations_for_one_country(example, tmp_path, capsys):
    summary = tune(freeze(example), tmp_path / "run")
    written = read(tmp_path / "run" / "summary.json")
    assert written == {"format": FORMAT} | json.loads(json.dumps(summary))
    told = capsys.readouterr().out
    assert "invented targets" in summary["notice"] and "invented targets" in told
    assert summary["baseline"] == "uniform answers" and "uniform answers" in told
    assert summary["loss"]["best"] < summary["loss"]["naive"]
    assert list(summary["scores"]) == list(summary["target"]) == list(summary["dimension_names"])
    if example.survey.instrument == "example_values":
        gaps = [abs(summary["scores"][key] - goal) for key, goal in summary["target"].items()]
        assert summary["loss"]["best"] == pytest.approx(sum(gaps), rel=1e-4)
        weighted = np.dot([3, 2, 2, 3], list(summary["scores"].values()))
        assert weighted == pytest.approx(0, abs=1e-4)
        goals = np.abs([*summary["target"].values()])
        assert summary["loss"]["constant"] == pytest.approx(goals.sum(), rel=1e-5)
        assert "items" not in summary and "TRAD" in told
    else:
        for kind, place in (("best", "scores"), ("naive", "naive_scores")):
            distances = distances_by_scipy(summary, place)
            for id_, distance in distances.items():
                ours = summary["items"][id_]["distance"][kind]
                assert ours == pytest.approx(distance, rel=1e-3, abs=1e-3)
            assert summary["loss"][kind] == pytest.approx(np.mean([*distances.values()]), rel=1e-4)
        assert summary["constant"] is None and "Answers in percent" in told
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    assert "uniform answers" in page and "invented targets" in page
    with (tmp_path / "run" / "report" / "scores.csv").open(newline="") as file:
        assert [row["dimension"] for row in csv.DictReader(file)] == list(summary["target"])


def distances_by_scipy(summary: dict, place: str) -> dict[str, float]:
    distances = {}
    for item in load_instrument("example_opinions").items:
        ours, goal = (
            np.array([summary[kind][key] for key in item.dimensions]) for kind in (place, "target")
        )
        if item.nominal:
            distances[item.id] = 100 * scipy.spatial.distance.jensenshannon(ours, goal, 2)
        else:
            far = scipy.stats.wasserstein_distance(item.values, item.values, ours, goal)
            distances[item.id] = 100 * far / (max(item.values) - min(item.values))
    return distances


@pytest.mark.nightly
def test_several_countries_and_culturalbench(tiny_config, tmp_path, capsys):
    example = configure(tiny_config, "example_opinions")
    example.country = "sa,cn"
    example.search.generations = 1
    example.objective.culturalbench = "fixture"
    example.objective.terms.culturalbench_nll = 1.0
    summary = tune(freeze(example), tmp_path / "run")
    assert list(summary["countries"]) == ["SA", "CN"] and "items" not in summary
    folders = [tmp_path / "run", *(tmp_path / "run" / "countries" / c for c in ("SA", "CN"))]
    for folder in folders:
        page = (folder / "report" / "index.html").read_text()
        assert "uniform answers" in page and "constant answer" not in page
    one, other = (read(folder / "summary.json") for folder in folders[1:])
    assert one["target"] != other["target"] and one["loss"] != other["loss"]
    assert list(one["items"]) == list(other["items"]) and one["items"] != other["items"]
    assert "uniform answers" in capsys.readouterr().out


def test_the_loss_of_a_prompt_can_be_differentiated(tiny_config):
    """Down its gradient the loss falls as much as the gradient says."""
    example = configure(tiny_config, "example_opinions")
    problem = load_problem(freeze(example))
    evaluator = problem.evaluator()
    length, width = example.prompt.length, problem.model_config.width
    prompt_LD = 0.3 * jax.random.normal(jax.random.key(1), (length, width))

    @jax.jit
    @jax.value_and_grad
    def loss(prompt_LD):
        return loss_of_prompt(evaluator, problem.weights, problem.task, prompt_LD)[0]

    value, slope_LD = loss(prompt_LD)
    measured = jax.jit(evaluator)(
        problem.weights, problem.task, prompt_LD[None], key=jax.random.key(0)
    )
    assert float(value) == pytest.approx(float(measured.loss_GP[0, 0]), rel=1e-4)
    norm = float(jnp.linalg.norm(slope_LD))
    assert np.isfinite(norm) and norm > 0
    step = 0.01 * float(value) / norm**2
    fallen = float(value) - float(loss(prompt_LD - step * slope_LD)[0])
    assert fallen == pytest.approx(0.01 * float(value), rel=0.3)


@pytest.mark.parametrize(
    ("instrument", "targets", "key", "value", "named"),
    first(
        2,
        [
            ("example_opinions", "hofstede2010", None, None, "item, option, share"),
            ("example_values", "hofstede2010", None, None, "SELF, CARE, TRAD, RISE"),
            ("vsm13", "example_values", None, None, "lacks the columns PDI"),
            ("example_opinions", "example_opinions", "constant", 50.0, "survey.constant=50.0"),
            ("example_values", "example_values", "constant", (1.0, 2.0), "SELF, CARE, TRAD, RISE"),
            (
                "example_opinions",
                "example_opinions",
                "coefficients",
                "manual",
                "coefficients='manual'",
            ),
        ],
    ),
)
def test_what_does_not_fit_together(tiny_config, tmp_path, instrument, targets, key, value, named):
    configure(tiny_config, targets).survey.instrument = instrument
    if key:
        tiny_config.survey[key] = value
    with pytest.raises(UserError, match="survey") as error:
        tune(freeze(tiny_config), tmp_path / "run")
    assert named in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_the_peer_refuses_what_has_no_formulas(tiny_config):
    with pytest.raises(UserError, match=r"survey\.instrument='example_opinions'"):
        check_objective(freeze(configure(tiny_config, "example_opinions")))
    check_objective(freeze(configure(tiny_config, "example_values")))
