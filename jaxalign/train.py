"""Tunes a soft prompt.

    python -m jaxalign.train --config=NAME[:VARIANT] [--workdir=DIR] [--config.KEY=VALUE …]
        [--profile=START:STOP] [--wandb=PROJECT]

The same command on the same workdir goes on where the last one stopped. With --distributed this is
one of several processes that run together, which all get the same command.
"""

import functools
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from absl import flags
from ml_collections import config_dict
from rich.console import Console

from jaxalign.devices import distributed

if __name__ == "__main__":  # before the imports below, some of which touch the devices
    distributed.join(sys.argv[1:])

from jaxalign import cli
from jaxalign.config import country_names, to_plain, validate
from jaxalign.devices.mesh import shape_of
from jaxalign.devices.profiling import Profile, parse_bounds
from jaxalign.engine import Engine, build_engine, keep_settings, resolve_settings
from jaxalign.errors import UserError
from jaxalign.evolve import Metrics, RunState
from jaxalign.files import write_json
from jaxalign.problem import load_problem
from jaxalign.report import Progress
from jaxalign.run.checkpoint import Checkpoints
from jaxalign.run.finish import finish, tell_before
from jaxalign.run.initialization import begin, file_digests
from jaxalign.run.provenance import check_same_run, make_record, make_run_record, warn_of_changes
from jaxalign.run.startup import StartUp
from jaxalign.run.stopping import StopRequest
from jaxalign.run.trackers import WandB, import_wandb
from jaxalign.run.workdir import Workdir

_CONFIG = cli.define_config()
flags.adopt_module_key_flags(cli)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; overrides config.workdir.")
_PROFILE = flags.DEFINE_string(
    "profile", None, "START:STOP, the generations whose steps are traced, to WORKDIR/profile."
)
_WANDB = flags.DEFINE_string("wandb", None, "Project of Weights & Biases that shows the run too.")
flags.DEFINE_bool(
    distributed.FLAG,
    None,
    "Whether this is one of several processes of one run; left out, it is under SLURM and on a TPU "
    "slice. JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID tell which elsewhere.",
)


def main(typed: list[str]) -> None:
    """The command; `typed` are its arguments."""
    startup = StartUp(of_command=True)
    config = _CONFIG.value
    validate(config)
    model = Path(config.model.path).name.lower()
    default = f"runs/{'-'.join(country_names(config.country)).lower()}-{model}"
    path = Path(os.path.expanduser(_WORKDIR.value or config.workdir or default))
    arguments = cli.without_flag(typed, "workdir")
    again = shlex.join(["-m", "jaxalign.train", *arguments, f"--workdir={path}"])
    profile = parse_bounds(_PROFILE.value, config.search.generations)
    if _WANDB.value:
        import_wandb()
    with distributed.a_death_is_told():
        tune(config, path, again, startup, profile, _WANDB.value)


def tune(
    config: config_dict.ConfigDict,
    path: Path,
    again: str = "",
    startup: StartUp | None = None,
    profile: tuple[int, int] | None = None,
    wandb: str | None = None,
) -> dict[str, Any] | None:
    """Runs a search to its end, or until it is told to stop.

    Args:
      config: validated.
      path: the workdir; a run that was begun there goes on.
      again: what follows `python` in the command that runs this again.
      startup: what has been timed so far.
      profile: generations from which to which there is to be a trace.
      wandb: project of Weights & Biases where the run is shown too.

    Returns:
      The content of summary.json, or None if the run was stopped before its end.

    Raises:
      UserError: whatever the user can put right.
    """
    generations, startup = config.search.generations, startup or StartUp()
    with StopRequest() as stop:
        # 1. What is asked, of which model, and where the search begins; the folder only then, so
        # that a mistake leaves none.
        problem = load_problem(config)
        candidates = begin(config, problem).vectors_E.shape[0]
        digests = problem.digests() | file_digests(config)
        startup.end("loading")
        with Workdir(path) as workdir:
            # 2. A run that was begun here goes on with the settings it chose, or not at all.
            with distributed.wait_for_all("record"):  # or the first might write before others read
                old = workdir.read_record() if workdir.has_generations() else None
            if old:
                mesh = shape_of(problem.mesh)
                check_same_run(old, to_plain(config), digests, candidates, path, mesh)
            elif workdir.has_generations():
                raise UserError(
                    f"workdir={path} has checkpoints but no config.json to say of what run; give "
                    "another --workdir"
                )
            workdir.begin(generations)
            if wandb and distributed.is_first():
                workdir.add_curves(WandB(wandb, path, {"command": again} | to_plain(config)))
            settings = (
                keep_settings(config, problem, old["resolved"])
                if old
                else resolve_settings(config, problem)
            )
            startup.end("chunk")

            # 3. One generation, compiled once.
            engine = build_engine(config, problem, settings, begins=not old)
            startup.end("compiling")
            workdir.require_space(engine.abstract_state)
            command_line = f"python {again}"
            record = make_run_record(
                to_plain(config),
                settings,
                digests,
                command_line,
                problem.notice,
                engine.naive_loss,
            )

            # 4. Where to begin: the newest checkpoint that can be read, or generation 0.
            checkpoints = Checkpoints(
                path / "checkpoints", config.checkpoint.every, config.checkpoint.keep
            )
            restored = checkpoints.restore(engine.abstract_state)
            begun = int(restored.metrics.generation) if restored else None
            if begun is not None and begun > generations:
                raise UserError(
                    f"search.generations={generations}: {path} is already at generation {begun}; "
                    "give at least that, or another --workdir"
                )
            if old:
                warn_of_changes(old, record)
            if distributed.is_first():
                write_json(path / "config.json", record)
                tell_before(config, problem, engine, path, begun, startup)

            # 5. The search, and what leaves it.
            codes = [target.code for target in problem.targets]
            state, records = search(
                engine,
                restored,
                generations,
                functools.partial(make_record, codes, problem.task.terms),
                workdir,
                checkpoints,
                stop,
                Profile(profile if distributed.is_first() else None, path / "profile"),
                problem.notice,
            )
            generation = int(state.metrics.generation)
            if generation == generations:
                workdir.tell("finishing")
                summary = finish(config, problem, engine, workdir, state, records)
                workdir.show_ending()
                workdir.tell("done")
                return summary
            workdir.tell("stopped")
    if not distributed.is_first():
        return None
    print(
        f"\nstopped by {stop.received} after generation {generation}, which is saved; to go on:\n"
        f"  {shlex.quote(sys.executable)} {again}",
        flush=True,
    )
    return None


def search(
    engine: Engine,
    restored: RunState | None,
    generations: int,
    record_of: Callable[..., dict[str, Any]],
    workdir: Workdir,
    checkpoints: Checkpoints,
    stop: StopRequest,
    profile: Profile,
    notice: str | None = None,
) -> tuple[RunState, list[dict[str, Any]]]:
    """Runs generations until the last one or a request to stop; the state returned is saved.

    `record_of` makes a line of metrics.jsonl of metrics, seconds and tokens; `profile` traces what
    it was asked to.

    Metrics are read one step late and written when the generation's checkpoint is durable, so that
    with a checkpoint each generation no kill can undo what metrics.jsonl tells of.

    Returns:
      The last state, and all records of the run.
    """
    last = record_of(jax.device_get(restored.metrics)) if restored else None
    records = workdir.rewind_metrics(last, notice)
    generation = int(restored.metrics.generation) if restored else 0
    start = engine.compile_start() if restored is None else lambda: (restored, None)
    clock = time.perf_counter()

    def watch(metrics: Metrics) -> None:
        nonlocal clock
        metrics = jax.device_get(metrics)
        now = time.perf_counter()
        before = records[-1]["evaluations"] if records else 0
        tokens = (int(metrics.evaluations) - before) * engine.tokens_each
        records.append(record_of(metrics, now - clock, tokens))
        clock = now
        workdir.append_metrics(records[-1])
        progress.update(records[-1])

    console = None if distributed.is_first() else Console(quiet=True)
    with Progress(generations, start=generation, console=console) as progress, profile:
        clock = time.perf_counter()
        state, pending = start()
        checkpoints.save(generation, state)
        while generation < generations and not stop.at(generation):
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
    return state, records


if __name__ == "__main__":
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    cli.run(main)
