"""The story of a run: from settings to a tuned prompt in a workdir, read from top to bottom."""

import contextlib
import dataclasses
import functools
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxalign.config import to_plain
from jaxalign.devices import distributed
from jaxalign.devices.mesh import shape_of
from jaxalign.devices.profiling import Profile
from jaxalign.errors import UserError
from jaxalign.files import write_json
from jaxalign.problem import load_problem
from jaxalign.report import Progress
from jaxalign.run.announce import print_start
from jaxalign.run.checkpoint import Checkpoints
from jaxalign.run.early_end import EarlyEnd, early_end
from jaxalign.run.engine import Engine, Resolved, build_engine, choose_execution, in_parallel
from jaxalign.run.finish import conclude, write_results
from jaxalign.run.initialization import file_digests, initialize, with_spread
from jaxalign.run.metrics import make_record
from jaxalign.run.option_mass import naive_mass
from jaxalign.run.provenance import make_run_record
from jaxalign.run.resume import check_same_run, check_same_settings, warn_of_changes
from jaxalign.run.startup import StartUp
from jaxalign.run.stopping import StopRequest
from jaxalign.run.trackers import Tracker
from jaxalign.run.workdir import Workdir
from jaxalign.search.gradient import Stopped, Store
from jaxalign.search.state import Metrics, RunState
from jaxalign.settings import Settings

MakeTracker = Callable[[Path, Mapping[str, Any]], Tracker]  # of the workdir and the plain settings


def tune(
    settings: Settings,
    path: Path,
    *,
    again: str = "",
    startup: StartUp | None = None,
    progress: Callable[..., Progress] = Progress,
    profile: Profile | None = None,
    trackers: Sequence[MakeTracker] = (),
) -> dict[str, Any] | None:
    """Run a search to its end, or until it is told to stop.

    Args:
      settings: of the run.
      path: the workdir; a run that was begun there is resumed.
      again: what follows `python` in the command that resumes this run.
      startup: what has been timed so far.
      progress: makes what shows the progress.
      profile: traces some of the generations.
      trackers: make what the run is shown in beside TensorBoard.

    Returns:
      The content of summary.json, empty in all but the first of several processes; None if the run
      was stopped before its end.

    Raises:
      UserError: whatever the user can put right.
    """
    startup, generations = startup or StartUp(), settings.search.generations
    with StopRequest() as stop:
        # 1. What is asked, of which model, and where the search begins; the folder is made only
        # then, so that a mistake leaves none, and looked at before, since that takes no time.
        workdir = Workdir(path)
        _check_workdir(workdir, settings)
        problem = load_problem(settings)
        plan = initialize(settings, problem)
        digests = problem.digests() | file_digests(settings)
        startup.end("loading")
        with workdir:
            # 2. A run that was begun here is resumed with what it has chosen, or not at all.
            with distributed.wait_for_all("record"):  # or the first might write before others read
                old = workdir.read_record() if workdir.has_generations() else None
            kept, mesh = None, shape_of(problem.mesh)
            if old:
                check_same_run(old, to_plain(settings), digests, plan.candidates, path, mesh)
                kept = Resolved.read(old["resolved"])
                plan = with_spread(plan, settings, kept.spread)
            workdir.begin(generations)
            if distributed.is_first():
                for make_tracker in trackers:
                    workdir.add_tracker(make_tracker(path, {"command": again} | to_plain(settings)))
            execution = choose_execution(settings.evaluation, problem, plan, kept)
            startup.end("chunk")

            # 3. One generation, compiled once.
            engine, mass = in_parallel(
                functools.partial(build_engine, problem, plan, execution, starts=not old),
                functools.partial(naive_mass, problem, execution.attention),
            )
            startup.end("compiling")
            if not np.isfinite(engine.naive.loss_GP).any():
                raise UserError(
                    f"model.path={settings.model.path}: its answers are not finite even without a "
                    "soft prompt; its weights hold NaN or infinities, or overflow in "
                    f"model.dtype={settings.model.dtype}"
                )
            workdir.require_space(engine.abstract_state)

            # 4. Where to begin: the newest checkpoint that can be read, or generation 0.
            checkpoints = Checkpoints(
                path / "checkpoints", settings.checkpoint.every, settings.checkpoint.keep
            )
            restored = checkpoints.restore(engine.abstract_state)
            resumed = int(restored.metrics.generation) if restored else None
            if resumed is None:
                workdir.require_no_metrics()
            record = make_run_record(
                to_plain(settings),
                dataclasses.asdict(Resolved(execution.chunk, plan.spread, mesh)),
                digests,
                f"python {again}",
                problem.notice,
                engine.naive_loss,
            )
            if old:
                warn_of_changes(old, record)
            if distributed.is_first():
                write_json(path / "config.json", record)
                print_start(
                    *(settings, problem, engine, path), mass=mass, resumed=resumed, startup=startup
                )

            # 5. The search, and what leaves it.
            codes = [target.code for target in problem.targets]
            noisy = problem.has_noisy_loss
            hooks = Hooks(
                workdir,
                checkpoints,
                stop,
                early_end(settings.search, engine, codes, noisy),
                functools.partial(make_record, codes, engine.task.goal.terms),
                progress(generations, start=resumed or 0),
                profile or Profile(None, path),
            )
            last = hooks.record(jax.device_get(restored.metrics)) if restored else None
            records = workdir.rewind_metrics(last, problem.notice)
            state = search(engine, restored, records, generations, hooks)
            generation = int(state.metrics.generation)
            early = hooks.early_end.reason(records, generation)
            if generation == generations or early:
                workdir.write_state("finishing")

                def store(code: str, before: int) -> Store:
                    first = generations + 1 + before
                    return Store(
                        path / "polish" / f"{code}.msgpack",
                        lambda step: stop.at(first + step),
                        distributed.is_first(),
                    )

                with contextlib.suppress(Stopped):
                    given = settings, problem, engine, state, records, early
                    outcome = conclude(*given, store=store)
                    summary = write_results(outcome, path) if distributed.is_first() else {}
                    workdir.show_ending()
                    workdir.write_state("done")
                    return summary
            workdir.write_state("stopped")
    if distributed.is_first():
        how = f"; to resume:\n  {shlex.quote(sys.executable)} {again}" if again else ""
        print(
            f"\nstopped by {stop.received} after generation {generation}, which is saved{how}",
            flush=True,
        )
    return None


def _check_workdir(workdir: Workdir, settings: Settings) -> None:
    """Raise UserError if a workdir cannot be had, or is of another run by its settings alone."""
    workdir.require_free()
    if not workdir.has_generations():
        return
    path, old, newest = workdir.path, workdir.read_record(), workdir.newest_checkpoint()
    if old is None:
        raise UserError(
            f"workdir={path} has checkpoints but no config.json to say of what run; give another "
            "--workdir"
        )
    check_same_settings(old, to_plain(settings), path)
    if newest is None:
        workdir.require_no_metrics()
    elif newest > (generations := settings.search.generations):
        raise UserError(
            f"search.generations={generations}: {path} is already at generation {newest}; give at "
            "least that, or another --workdir"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Hooks:
    """What a search writes to, is stopped by and is watched with.

    Attributes:
      workdir, checkpoints: files of the run.
      stop, early_end: asked before each generation.
      record: makes a line of metrics.jsonl of metrics, seconds and tokens.
      progress: shows each record.
      profile: traces some of the generations.
    """

    workdir: Workdir
    checkpoints: Checkpoints
    stop: StopRequest
    early_end: EarlyEnd
    record: Callable[..., dict[str, Any]]
    progress: Progress
    profile: Profile


def search(
    engine: Engine,
    restored: RunState | None,
    records: list[dict[str, Any]],
    generations: int,
    hooks: Hooks,
) -> RunState:
    """Run generations until the last one, a request to stop, or nothing is left to win.

    The state returned is saved.

    Metrics are read one step late and written when the generation's checkpoint is durable, so that
    with a checkpoint each generation no kill can undo what metrics.jsonl has.

    Args:
      engine: compiled.
      restored: the state to resume from, or None.
      records: of the generations so far; those that are run are added.
      generations: number of the last one.
      hooks: what is written and watched.
    """
    checkpoints, profile = hooks.checkpoints, hooks.profile
    generation = int(restored.metrics.generation) if restored else 0
    clock = time.perf_counter()

    def watch(metrics: Metrics) -> None:
        nonlocal clock
        metrics = jax.device_get(metrics)
        now = time.perf_counter()
        before = records[-1]["evaluations"] if records else 0
        tokens = (int(metrics.evaluations) - before) * engine.tokens_each
        records.append(hooks.record(metrics, now - clock, tokens))
        clock = now
        hooks.workdir.append_metrics(records[-1])
        if np.isinf(metrics.generation_best_G).all():
            raise UserError(
                f"generation {records[-1]['generation']}: no candidate has a finite loss; give "
                "search.max_norm=2, another search.strategy, or model.dtype=float32"
            )
        hooks.progress.update(records[-1])

    with hooks.progress, profile:
        clock = time.perf_counter()
        state, pending = engine.start() if restored is None else (restored, None)
        checkpoints.save(generation, state)
        while generation < generations and not hooks.stop.at(generation):
            if hooks.early_end.reason(records, generation):
                break
            profile.reached(generation, state)
            state, metrics = engine.step(state)
            generation += 1
            if pending is not None:
                checkpoints.wait()
                watch(pending)
            pending = metrics
            checkpoints.save(generation, state)
        checkpoints.save(generation, state, force=True)
        checkpoints.close()
        if pending is not None:
            watch(pending)
    return state
