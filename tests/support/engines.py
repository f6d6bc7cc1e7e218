"""An engine from a config, as a run builds it."""

from typing import Any

from jaxalign.config import freeze
from jaxalign.problem import Problem
from jaxalign.run.engine import Engine, build_engine, choose_execution
from jaxalign.run.initialization import initialize


def make_engine(config: Any, problem: Problem, *, starts: bool = False) -> Engine:
    """Build what a run with this config would."""
    settings = freeze(config)
    plan = initialize(settings, problem)
    execution = choose_execution(settings.evaluation, problem, plan)
    return build_engine(problem, plan, execution, starts=starts)
