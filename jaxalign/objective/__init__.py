"""What is asked, what is wanted, and what answers are worth."""

from jaxalign.objective.checks import check_objective
from jaxalign.objective.layout import Layout, Turns, make_layout, make_layouts, make_turns
from jaxalign.objective.measure import (
    Evaluation,
    Objective,
    by_format,
    make_objective,
    measure_answers,
    read_means,
)
from jaxalign.objective.task import (
    CULTURALBENCH_TERMS,
    TERMS,
    Goal,
    Task,
    load_culturalbench,
    make_task,
)

__all__ = [
    "CULTURALBENCH_TERMS",
    "TERMS",
    "Evaluation",
    "Goal",
    "Layout",
    "Objective",
    "Task",
    "Turns",
    "by_format",
    "check_objective",
    "load_culturalbench",
    "make_layout",
    "make_layouts",
    "make_objective",
    "make_task",
    "make_turns",
    "measure_answers",
    "read_means",
]
