"""Memory that is really not there: child processes that may have little more than they hold."""

import os
import subprocess
import sys

import pytest

LIMIT = """
import resource

def limit(gibibytes):
    with open("/proc/self/statm") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + int(gibibytes * 2**30), resource.RLIM_INFINITY))
"""

CHOICE = """
import jax
from jaxalign.fitness import Execution
from jaxalign.run.initialization import initialize
from jaxalign.config import base, freeze
from jaxalign.run.engine import find_chunk
from jaxalign.problem import load_problem
from jaxalign.run.random_weights import with_random_weights

config = base("embedded")
config.country = "SA"
config.search.population = 256
settings = freeze(config)
problem = with_random_weights(settings, load_problem(settings), "2x512")
plan = initialize(settings, problem)
prompts_ELD = jax.block_until_ready(jax.jit(plan.space.prompts)(plan.vectors_E))
limit(1.5)
print(find_chunk(problem, Execution(), prompts_ELD, 2**50))
"""

COMMAND = """
import sys
from jaxalign import train
from jaxalign import cli

def main(typed):
    limit(2)
    train.main(typed)

cli.run(main)
"""


def python(program: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", LIMIT + program, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        timeout=300,
    )


@pytest.mark.nightly
def test_a_chunk_is_found_where_memory_is_short():
    result = python(CHOICE)
    assert result.returncode == 0, result.stderr
    assert 1 < int(result.stdout) < 256


@pytest.mark.nightly
def test_out_of_memory_is_told_in_one_line_and_leaves_nothing_in_the_way(tmp_path):
    def train(candidates: int, chunk: int) -> subprocess.CompletedProcess:
        return python(
            COMMAND,
            "--config=sa.py:embedded",
            f"--config.search.population={candidates}",
            f"--config.evaluation.chunk={chunk}",
            "--config.search.generations=1",
            f"--workdir={tmp_path}",
        )

    result = train(2048, 2048)
    assert result.returncode == 2, result.stdout + result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "evaluation.chunk" in errors[0], result.stderr
    assert "Traceback" not in result.stderr
    assert train(8, 2).returncode == 0
