"""Tunes a soft prompt: python -m jaxalign.train --config=sa.py:embedded [--workdir=DIR] [--config.KEY=VALUE …].

The same command on the same workdir goes on where the last one stopped.
"""

import functools
import logging
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from absl import flags
from ml_collections import config_dict

from jaxalign import command
from jaxalign.checkpoint import Checkpoints
from jaxalign.config import to_plain, validate
from jaxalign.errors import UserError
from jaxalign.evolve import Evolution, RunState
from jaxalign.fitness import Evaluation, Objective, choose_chunk, evaluate
from jaxalign.memory import chunk_budget
from jaxalign.model import parameter_bytes, parameter_count
from jaxalign.problem import Problem, first_population, load_problem, strategy_params
from jaxalign.report import Progress, print_header, print_result, write_report
from jaxalign.report.files import write_file
from jaxalign.search import make_strategy, vocabulary_bounds
from jaxalign.stopping import StopRequest
from jaxalign.survey import distance
from jaxalign.workdir import (
    Workdir,
    check_same_run,
    describe_device,
    make_record,
    make_run_record,
)

_CONFIG = command.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; overrides config.workdir.")


def main() -> None:
    """The command."""
    config = _CONFIG.value
    validate(config)
    tune(config, _workdir_path(config))


def tune(config: config_dict.ConfigDict, path: Path) -> dict[str, Any] | None:
    """Runs a search to its end, or until it is told to stop.

    Args:
      config: validated.
      path: the workdir; a run that was begun there goes on.

    Returns:
      The content of summary.json, or None if the run was stopped before its end.

    Raises:
      UserError: whatever the user can put right.
    """
    with StopRequest() as stop:
        # 1. What is asked, of which model; then the folder, so that nothing half-written is left.
        problem = load_problem(config)
        digests = problem.digests()
        workdir = Workdir(path)
        old = workdir.read_record()
        if old:
            check_same_run(old, to_plain(config), digests, path)

        # 2. One generation, compiled once for the largest chunk that fits.
        resolved = old["resolved"] if old else _resolve(config, problem)
        evolution = _make_evolution(config, problem, resolved)
        key = jax.random.key(config.seed)
        population_PLD = first_population(config, problem)
        start = jax.jit(evolution.start).lower(problem.weights, problem.task, population_PLD, key)
        abstract_state = start.out_info[0]
        step = (
            jax.jit(evolution.step, donate_argnums=2)
            .lower(problem.weights, problem.task, abstract_state)
            .compile()
        )
        workdir.require_space(4 * _bytes(abstract_state))
        if not old:
            record = make_run_record(to_plain(config), resolved, digests, _command_line(path))
            workdir.write_json("config.json", record)
        checkpoints = Checkpoints(path / "checkpoints", config.checkpoint.every, config.checkpoint.keep)

        # 3. Where to begin: the newest checkpoint, or the initial population as generation 0.
        restored = checkpoints.restore(abstract_state)
        generation = restored[0] if restored else 0
        if generation > config.search.generations:
            raise UserError(
                f"search.generations={config.search.generations}: {path} is already at generation "
                f"{generation}; give at least that, or another --workdir"
            )
        naive = _evaluate_alone(problem, config, jnp.zeros((1, 0, problem.model_config.width)))
        _print_before(config, problem, resolved, step, naive, path, restored)
        state, records = _search(
            config, problem, workdir, checkpoints, stop, start, step, population_PLD, key, restored
        )
        checkpoints.close()

    # 4. What leaves the run.
    generation = int(state.metrics.generation)
    if generation < config.search.generations:
        print(
            f"\nstopped by {stop.received} after generation {generation}, which is saved; the same "
            f"command goes on from there:\n  {_command_line(path)}",
            flush=True,
        )
        return None
    return _finish(config, problem, workdir, state, records, naive)


def _search(
    config: config_dict.ConfigDict,
    problem: Problem,
    workdir: Workdir,
    checkpoints: Checkpoints,
    stop: StopRequest,
    start: Any,
    step: Any,
    population_PLD: jax.Array,
    key: jax.Array,
    restored: tuple[int, RunState] | None,
) -> tuple[RunState, list[dict[str, Any]]]:
    """The generations. Metrics are read one step late, so that the device need not wait for the host."""
    population, generations = config.search.population, config.search.generations
    tokens = population * (config.prompt.length + problem.questions.trie.size)
    records = workdir.rewind_metrics(restored[1].metrics if restored else None)
    begun = restored[0] if restored else 0
    with Progress(generations, population, start=begun) as progress:
        clock = time.perf_counter()

        def watch(metrics: Any) -> None:
            nonlocal clock
            metrics = jax.device_get(metrics)
            now = time.perf_counter()
            record = make_record(metrics, now - clock, tokens)
            clock = now
            workdir.append_metrics(record)
            records.append(record)
            progress.update(record)

        if restored:
            state, pending = restored[1], None
        else:
            run_start = start.compile()
            clock = time.perf_counter()
            state, pending = run_start(problem.weights, problem.task, population_PLD, key)
            checkpoints.save(0, state, float(pending.best_loss))
        generation = begun
        while generation < generations and not stop.received:
            state, metrics = step(problem.weights, problem.task, state)
            generation += 1
            if pending is not None:
                watch(pending)
            pending = metrics
            last = generation == generations or stop.received
            if last or generation % config.checkpoint.every == 0:
                checkpoints.save(generation, state, float(metrics.best_loss), force=bool(last))
        if pending is not None:
            watch(pending)
        checkpoints.save(generation, state, float(state.metrics.best_loss), force=True)
    return state, records


def _make_evolution(
    config: config_dict.ConfigDict, problem: Problem, resolved: dict[str, Any]
) -> Evolution:
    strategy = make_strategy(
        config.search.strategy,
        config.search.population,
        config.prompt.length,
        problem.model_config.width,
        resolved["spread"],
        strategy_params(config),
    )
    bounds = None
    if config.search.bounds == "vocabulary":
        bounds = jax.jit(vocabulary_bounds)(problem.weights["embedding"][...])
    objective = _objective(config, resolved["chunk"])
    return Evolution(strategy, functools.partial(evaluate, problem.graphdef, objective), bounds)


def _objective(config: config_dict.ConfigDict, chunk: int) -> Objective:
    return Objective(
        readout=config.objective.readout,
        respondents=config.objective.respondents,
        norm=config.objective.norm,
        chunk=chunk,
    )


def _resolve(config: config_dict.ConfigDict, problem: Problem) -> dict[str, Any]:
    """What is chosen once and kept for the whole run: the chunk, and the population's spread."""
    population_PLD = first_population(config, problem)
    spread = float(jnp.std(population_PLD - jnp.mean(population_PLD, axis=0, keepdims=True)))
    chunk = config.evaluation.chunk

    def bytes_of(chunk: int) -> int:
        function = functools.partial(evaluate, problem.graphdef, _objective(config, chunk))
        arguments = (problem.weights, problem.task, population_PLD, jax.random.key(0))
        analysis = jax.jit(function).lower(*arguments).compile().memory_analysis()
        return analysis.temp_size_in_bytes

    if not chunk:
        chunk = choose_chunk(bytes_of, config.search.population, chunk_budget(jax.devices()[0]))
    return {"chunk": min(chunk, config.search.population), "spread": spread}


def _evaluate_alone(
    problem: Problem, config: config_dict.ConfigDict, population_PLD: jax.Array
) -> Evaluation:
    """Evaluates a few prompts outside the search; a prompt of no rows is the naive model."""
    function = functools.partial(evaluate, problem.graphdef, _objective(config, 1))
    key = jax.random.fold_in(jax.random.key(config.seed), 2)
    return jax.device_get(jax.jit(function)(problem.weights, problem.task, population_PLD, key))


def _print_before(
    config: config_dict.ConfigDict,
    problem: Problem,
    resolved: dict[str, Any],
    step: Any,
    naive: Evaluation,
    path: Path,
    restored: tuple[int, RunState] | None,
) -> None:
    trie, length, search = problem.questions.trie, config.prompt.length, config.search
    weights = parameter_bytes(problem.weights)
    analysis = step.memory_analysis()
    working = analysis.temp_size_in_bytes + analysis.output_size_in_bytes
    wording = "validated" if problem.instrument.validated else "wording not validated"
    rows = {
        "model": f"{config.model.path}, {parameter_count(problem.weights):,} parameters, "
        f"{config.model.dtype}",
        "device": describe_device(),
        "survey": f"{problem.instrument.title} ({len(problem.instrument.items)} items, {wording})",
        "target": f"{problem.target.country}, {config.survey.targets}: "
        + " ".join(f"{key} {value:g}" for key, value in problem.target.scores.items()),
        "search": f"{search.strategy}, {search.population} candidates of {length} x "
        f"{problem.model_config.width}, {search.generations} generations",
        "token trie": f"{trie.size} tokens for {len(trie.answer_nodes_Q)} questions, "
        f"{trie.saving(length):.1f} times fewer than a padded batch",
        "generation": f"{search.population * (length + trie.size):,} tokens, "
        f"{resolved['chunk']} candidates at a time",
        "memory": f"{weights / 2**20:,.0f} MiB weights, {working / 2**20:,.0f} MiB working",
        "naive loss": f"{float(naive.loss_P[0]):.1f}",
        "workdir": str(path),
    }
    if restored:
        rows["resumed"] = f"after generation {restored[0]}"
    print_header(rows, problem.notice)


def _finish(
    config: config_dict.ConfigDict,
    problem: Problem,
    workdir: Workdir,
    state: RunState,
    records: list[dict[str, Any]],
    naive: Evaluation,
) -> dict[str, Any]:
    """Writes the prompt, the summary and the report, and prints the result."""
    keys = list(problem.instrument.dimensions)
    constant_C = np.asarray(problem.scoring.constant_C)
    constant = distance(constant_C, problem.task.target_C, config.objective.norm)
    seconds = sum(record["seconds"] or 0.0 for record in records)
    timed = [record for record in records if record["seconds"]]
    tokens = sum(record["tokens_per_second"] * record["seconds"] for record in timed)
    summary = {
        "country": problem.target.code,
        "country_name": problem.target.country,
        "model": config.model.path,
        "notice": problem.notice,
        "strategy": config.search.strategy,
        "generations": int(state.metrics.generation),
        "evaluations": int(state.metrics.evaluations),
        "loss": {
            "constant": _number(constant),
            "naive": _number(naive.loss_P[0]),
            "best": _number(state.metrics.best_loss),
        },
        "scores": dict(zip(keys, map(_number, state.best_scores_C), strict=True)),
        "naive_scores": dict(zip(keys, map(_number, naive.scores_PC[0]), strict=True)),
        "target": problem.target.scores,
        "target_source": f"{problem.target.source} ({problem.target.year})",
        "dimension_names": problem.instrument.dimensions,
        "constant": [float(value) for value in constant_C],
        "readout": config.objective.readout,
        "norm": config.objective.norm,
        "targets": config.survey.targets,
        "seconds": round(seconds, 2),
        "tokens_per_second": round(tokens / seconds) if seconds else None,
        "hardware": describe_device(),
    }
    prompt = {"prompt_embeddings": np.asarray(state.best_prompt_LD, np.float32)}
    metadata = {"format": "pt"} | ({"jaxalign_notice": problem.notice} if problem.notice else {})
    content = safetensors.numpy.save(prompt, metadata=metadata)
    write_file(workdir.path / "soft_prompt.safetensors", content)
    workdir.write_json("summary.json", summary)
    write_report(workdir.path)
    files = [
        ("soft_prompt.safetensors", "the tuned prompt, prompt_embeddings [L, D]"),
        ("summary.json", "scores, losses, cost"),
        ("metrics.jsonl", "one line per generation"),
        ("report/index.html", "the report; its plots and table lie beside it"),
        ("config.json", "what was run, to run it again"),
        ("checkpoints/", "the search's state; more search.generations go on from it"),
    ]
    print_result(summary, [(str(workdir.path / name), line) for name, line in files], problem.notice)
    return summary


def _number(value: Any) -> float | None:
    return float(str(np.float32(value))) if np.isfinite(value) else None


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _workdir_path(config: config_dict.ConfigDict) -> Path:
    given = _WORKDIR.value or config.workdir
    model = Path(config.model.path).name.lower()
    return Path(given or f"runs/{config.country.lower()}-{model}").expanduser()


def _command_line(path: Path) -> str:
    """The command that was given, with the workdir named, so that it works in other places too."""
    arguments = [a for a in sys.argv[1:] if not a.startswith(("--workdir", "-workdir"))]
    return shlex.join(["python", "-m", "jaxalign.train", *arguments, f"--workdir={path}"])


if __name__ == "__main__":
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    command.run(main)
