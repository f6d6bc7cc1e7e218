"""A strategy of the user's own, as docs/strategies.md shows it."""

import re
from pathlib import Path

import numpy as np
import pytest
from engines import make_engine
from paths import ROOT
from tiers import first

from jaxalign.config import freeze
from jaxalign.errors import UserError
from jaxalign.search import check_strategy, make_strategy

PAGE = ROOT / "docs" / "strategies.md"


@pytest.fixture
def own(tmp_path) -> Path:
    """Write the example of the docs to a file."""
    (example,) = re.findall(r"```python\n(\"\"\"mine\.py.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(example.strip().splitlines()) <= 40
    path = tmp_path / "mine.py"
    path.write_text(example)
    return path


def test_the_example_of_the_docs_searches(own, tiny_config, tiny_problem):
    tiny_config.search.strategy = f"{own}:Walk"
    tiny_config.search.strategy_params = {"step": 0.5}
    engine = make_engine(tiny_config, tiny_problem)
    state, first = engine.start()
    accepted = 0
    for _ in range(12):
        state, metrics = engine.step(state)
        accepted += int(metrics.accepted_G[0])
    assert metrics.best_loss_G[0] < first.best_loss_G[0] and accepted > 3
    assert np.isfinite(state.strategy.population).all()
    assert engine.evolution.strategy.exchanges


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (None, "Walk", "No such file"),
        ("def broken(:", "Walk", "SyntaxError"),
        ("import no_such_package", "Walk", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "Walk", "SystemExit"),
        ("Walk = 3", "Walk", "must have a class of that name"),
        ("class Other: pass", "Walk", "must have a class of that name"),
    ],
)
def test_a_mistake_in_it_is_one_line(tmp_path, content, name, said):
    path = tmp_path / f"mine_{abs(hash(content))}.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as fault:
        make_strategy(f"{path}:{name}", 6, (2, 3), 1.0, {})
    message = str(fault.value)
    assert said in message and str(path) in message and "\n" not in message


def test_its_parameters_are_checked(own):
    with pytest.raises(UserError, match=r"search\.strategy_params\.stride: .*Walk has step"):
        make_strategy(f"{own}:Walk", 6, (2, 3), 1.0, {"stride": 1.0})
    with pytest.raises(UserError, match=r"search\.strategy_params\.step='x': must be a number"):
        make_strategy(f"{own}:Walk", 6, (2, 3), 1.0, {"step": "x"})


def test_its_types_may_be_written_out(own):
    """A struct with types as text is looked up by its module's name."""
    own.write_text(
        own.read_text().replace('"""\n', '"""\n\nfrom __future__ import annotations\n', 1)
    )
    strategy = make_strategy(f"{own}:Walk", 6, (2, 3), 1.0, {"step": 0.5})
    assert float(strategy.params.step) == 0.5


@pytest.mark.parametrize(
    ("before", "after", "said"),
    first(
        1,
        [
            ("return WalkParams(step=0.3)", "return {'step': 0.3}", "dataclass"),
            ("compares = True", "param_ranges = lambda: {}", "argument"),
            (
                "compares = True",
                "def __init__(self, population_size, solution: 'Lost', metrics_fn): ...",
                "'Lost' is not defined",
            ),
        ],
    ),
)
def test_a_fault_of_the_class_is_one_line(own, before, after, said):
    own.write_text(own.read_text().replace(before, after))
    with pytest.raises(UserError) as fault:
        make_strategy(f"{own}:Walk", 6, (2, 3), 1.0, {})
    message = str(fault.value)
    assert said in message and f"{own}:Walk" in message and "\n" not in message


@pytest.mark.parametrize(
    ("before", "after", "said"),
    first(
        1,
        [
            (
                "(fitness <= state.fitness)",
                "(fitness if fitness[0] else 0)",
                "TracerBoolConversion",
            ),
            ("_ask(self", "_aks(self", "NotImplementedError"),
        ],
    ),
)
def test_steps_that_cannot_be_traced_are_one_line(own, tiny_config, before, after, said):
    own.write_text(own.read_text().replace(before, after))
    tiny_config.search.strategy = f"{own}:Walk"
    with pytest.raises(UserError) as fault:
        check_strategy(freeze(tiny_config).search)
    message = str(fault.value)
    assert said in message and f"{own}:Walk" in message and "\n" not in message
