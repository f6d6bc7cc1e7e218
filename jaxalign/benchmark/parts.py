"""A generation taken apart: each of its parts as a call, on the state that a search begins with."""

import contextlib
import dataclasses
import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console

from jaxalign.evolve import Evolution
from jaxalign.objective import Evaluation, Task
from jaxalign.problem import Problem
from jaxalign.report import Progress
from jaxalign.run.checkpoint import Checkpoints
from jaxalign.run.engine import Engine
from jaxalign.run.metrics import make_record
from jaxalign.run.workdir import Workdir
from jaxalign.search.state import Metrics, RunState
from jaxalign.settings import Settings

Around = Callable[[str], contextlib.AbstractContextManager[Any]]


class Parts(contextlib.ExitStack):
    """The parts of one engine's generation; a context that closes the files it needs.

    Every round makes the first generation again: L-SHADE evaluates fewer candidates in later ones.

    Args:
      settings: of the engine.
      problem: of the engine.
      engine: whose generation it is.
      folder: where checkpoints and metrics may be written; on the disk whose speed matters.

    Attributes:
      prompts_ELD: the first population.
      peak: the most bytes that the process has held on the device after one generation, before
        anything was there that a search does not have; None where the platform does not report it.
    """

    def __init__(self, settings: Settings, problem: Problem, engine: Engine, folder: Path):
        super().__init__()
        jax.block_until_ready(engine.step(engine.start()[0]))
        self.peak = peak_bytes()
        self._engine = engine
        self._first, _ = engine.start()

        key = jax.random.key(settings.seed)
        task, space = engine.task, engine.plan.space
        vectors_E, params = engine.plan.vectors_E, engine.plan.strategy.params
        self.prompts_ELD = jax.jit(space.prompts)(vectors_E)
        self._evaluate = functools.partial(
            jax.jit(engine.evolution.evaluate),
            problem.weights,
            task.at(jnp.int32(0)),
            self.prompts_ELD,
            key=key,
            count=jnp.int32(engine.plan.candidates),
        )
        alone = _search_alone(problem, engine)
        self._searched, _ = jax.jit(alone.start)(None, task, space, params, vectors_E, key)
        self._search = functools.partial(jax.jit(alone.step, donate_argnums=3), None, task, space)
        # A call of the step's own arguments and results that computes nothing: what calling costs.
        idle = jax.jit(_idle, donate_argnums=3, keep_unused=True)
        arguments = problem.weights, task, space
        self._idle = functools.partial(
            idle.lower(*arguments, engine.abstract_state).compile(), *arguments
        )

        self._checkpoints = Checkpoints(folder / "checkpoints", every=1, keep=0)
        self.callback(self._checkpoints.close)
        self._workdir = self.enter_context(Workdir(folder / "workdir"))
        self._workdir.rewind_metrics(None)
        console = Console(file=io.StringIO(), highlight=False)
        generations = settings.search.generations
        self._progress = self.enter_context(Progress(generations, console=console))
        codes = [target.code for target in problem.targets]
        self._record = functools.partial(make_record, codes, problem.task.goal.terms)
        self._tokens = engine.plan.candidates * engine.tokens_each
        self._saved: tuple[int, RunState] | None = None

    def run(self, number: int, around: Around) -> None:
        """Take every part once, each inside `around(name)` and blocked until it is done.

        Args:
          number: of the round; a greater one each time.
          around: `Stopwatch`, or an annotation of a profile.
        """
        state = _copy(self._first)
        with around("generation"):
            state, _ = jax.block_until_ready(self._engine.step(state))
        self._saved = (number, state)
        with around("checkpoint"):
            self._checkpoints.save(number, state)
            self._checkpoints.wait()
        with around("evaluate"):
            self.evaluate()
        searched = _copy(self._searched)
        with around("ask_tell"):
            jax.block_until_ready(self._search(searched))
        state = _copy(state)
        with around("host"):
            self._watch(self._idle(state)[1])

    def evaluate(self) -> Evaluation:
        """Return the first population's answers, scores and losses."""
        return jax.block_until_ready(self._evaluate())

    def resumes(self) -> bool:
        """Return whether a step from the last checkpoint equals one from the live state."""
        assert self._saved is not None
        restored = self._checkpoints.restore(self._engine.abstract_state)
        assert restored is not None
        states = self._saved[1], restored
        kept, again = (_content(self._engine.step(state)[0]) for state in states)
        return kept == again

    def _watch(self, metrics: Metrics) -> None:
        """Return what a run does on the host with each generation's metrics."""
        record = self._record(jax.device_get(metrics), 1.0, self._tokens)
        self._workdir.append_metrics(record)
        self._progress.update(record)


def _idle(_: Any, __: Task, ___: Any, state: RunState) -> tuple[RunState, Metrics]:
    return state, state.metrics


def _search_alone(problem: Problem, engine: Engine) -> Evolution:
    """Return the evolution with one coordinate as loss in place of the model, and no choosing."""
    countries = len(problem.targets)
    dimensions = len(problem.instrument.dimensions)

    def free(_: Any, task: Task, prompts_ELD: jax.Array, **__: jax.Array) -> Evaluation:
        candidates = prompts_ELD.shape[0]
        loss_GE = jnp.broadcast_to(jnp.abs(prompts_ELD[:, 0, 0]), (countries, candidates))
        return Evaluation(
            loss_GE,
            jnp.zeros((candidates, dimensions)),
            jnp.zeros((candidates, *task.layout.answer_ids_QA.shape)),
            jnp.broadcast_to(loss_GE[..., None], (*loss_GE.shape, len(task.goal.terms))),
        )

    return dataclasses.replace(engine.evolution, evaluate=free, choose=None)


def peak_bytes() -> int | None:
    """Return the peak of device memory in bytes; None where the device reports none."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def _copy(state: RunState) -> RunState:
    """Return a copy of the state, for a step that donates it."""
    return jax.block_until_ready(jax.tree.map(jnp.copy, state))


def _content(state: RunState) -> list[bytes]:
    """Return the bytes of all leaves."""

    def raw(leaf: jax.Array) -> jax.Array:
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.random.key_data(leaf) if is_key else leaf

    return [leaf.tobytes() for leaf in jax.device_get(jax.tree.leaves(jax.tree.map(raw, state)))]
