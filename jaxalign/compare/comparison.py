"""A comparison of search methods at equal evaluations: run what is missing, report on all."""

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxalign.compare.methods import with_method
from jaxalign.compare.trials import Trials
from jaxalign.config import flatten, to_plain, values_of_then, with_new_names
from jaxalign.errors import UserError
from jaxalign.files import write_file, write_json
from jaxalign.model import NO_QUANTIZATION
from jaxalign.problem import Problem, load_problem
from jaxalign.report import print_header
from jaxalign.report.comparison import (
    Run,
    append_run,
    plot_curves,
    plot_finals,
    print_comparison,
    read_runs,
    render_markdown,
    summarise,
    write_summary_csv,
)
from jaxalign.report.drawing import Sheet
from jaxalign.report.numbers import format_loss
from jaxalign.run.engine import ask_naive, choose_execution
from jaxalign.run.heartbeat import hold
from jaxalign.run.initialization import file_digests, initialize
from jaxalign.run.provenance import describe_device
from jaxalign.run.random_weights import with_random_weights
from jaxalign.search import check_strategy, is_ours
from jaxalign.settings import Settings


def compare(
    settings: Settings,
    methods: dict[str, dict[str, Any]],
    seeds: range,
    evaluations: int,
    folder: Path,
    shape: str | None = None,
) -> None:
    """Run what is missing of a comparison, then write its tables and plots.

    Args:
      settings: what all methods share; its countries are searched for one at a time.
      methods: label to config keys, as `load_methods` gives them.
      seeds: of each method and country.
      evaluations: of each search, never exceeded.
      folder: of histories.csv and what is made of it.
      shape: of a model with random weights to search on; None for the config's own.

    Raises:
      UserError: whatever the user can put right.
    """
    if settings.objective.readout == "sampled":
        raise UserError(
            "objective.readout=sampled: a comparison keeps the lowest loss that a method saw, "
            "which is luck here; give expected or greedy"
        )
    if settings.model.quantization != NO_QUANTIZATION:
        raise UserError(
            f"model.quantization={settings.model.quantization!r}: methods are compared in full "
            "precision, which gradients need; leave it `none`"
        )
    configs = {label: with_method(settings, label, keys) for label, keys in methods.items()}
    for label, each in configs.items():
        try:
            check_strategy(each.search)
        except UserError as error:
            raise UserError(f"--methods: {label}: {error}") from error
        if methods[label].get("outside") == "gradient" and each.objective.readout != "expected":
            raise UserError(
                f"objective.readout={each.objective.readout}: {label!r} of --methods descends on "
                "expected answers, another loss; give expected, or other --methods"
            )
    problem = load_problem(settings)
    if shape:
        problem = with_random_weights(settings, problem, shape)
    task, naive = ask_naive(problem, settings.evaluation.attention, settings.seed)
    problem = dataclasses.replace(problem, task=task)
    if not (np.isfinite(naive.loss_GP) & (naive.loss_GP > 0)).all():
        raise UserError(
            "objective.terms: a comparison counts in parts of the naive loss, which has to be "
            "finite and above 0; give `survey` a weight"
        )
    execution = choose_execution(settings.evaluation, problem, initialize(settings, problem))
    todo = len(methods) * len(problem.targets) * len(seeds)
    rows = {
        "model": shape or settings.model.path,
        "device": describe_device(),
        "countries": ", ".join(target.country for target in problem.targets),
        "searches": f"{todo}, of {evaluations:,} evaluations each",
        "methods": ", ".join(methods),
        "folder": str(folder),
    }
    with hold(folder, "--output"):
        _check_same(
            folder / "comparison.json", settings, problem, configs, methods, evaluations, shape
        )
        histories = folder / "histories.csv"
        done = {run.name for run in read_runs(histories)}
        print_header(rows, problem.notice)
        number = 0
        for label, keys in methods.items():
            trials = Trials(keys.get("outside"), evaluations, execution)
            for index, own in enumerate(_each_country(problem)):
                country = own.targets[0].code
                for seed in seeds:
                    number += 1
                    if (label, country, seed) in done:
                        continue
                    own_settings = dataclasses.replace(configs[label], seed=seed)
                    naive_loss = float(naive.loss_GP[index, 0])
                    begun = time.perf_counter()
                    run = _run(label, keys, trials, own_settings, own, naive_loss)
                    append_run(histories, run)
                    print(
                        f"{number}/{todo}  {_in_words(run)}  ({time.perf_counter() - begun:.0f} s)",
                        flush=True,
                    )
        _write(folder, read_runs(histories), evaluations, problem.notice)


def _run(
    label: str,
    keys: dict[str, Any],
    trials: Trials,
    settings: Settings,
    problem: Problem,
    naive_loss: float,
) -> Run:
    """Run one search, for the problem's only country."""
    history = trials.run(settings, problem)
    return Run(
        method=label,
        kind=_kind(keys, settings),
        country=problem.targets[0].code,
        seed=settings.seed,
        naive_loss=naive_loss,
        initial_loss=history[0][1],
        forward_equivalents=history[-1][0],
        points=tuple(history),
    )


def _in_words(run: Run) -> str:
    losses = (run.naive_loss, run.initial_loss, run.points[-1][1])
    naive, first, last = map(format_loss, losses)
    return (
        f"{run.method}, {run.country}, seed {run.seed}: {naive} naive, {first} at first, "
        f"{last} at last"
    )


def _each_country(problem: Problem) -> Iterator[Problem]:
    """Yield the problem with one of its countries at a time."""
    for index, target in enumerate(problem.targets):
        one = slice(index, index + 1)
        goal = problem.task.goal
        task = problem.task.with_goal(target_GC=goal.target_GC[one], asked_GB=goal.asked_GB[one])
        yield dataclasses.replace(problem, targets=(target,), task=task)


def _kind(keys: dict[str, Any], settings: Settings) -> str:
    if "outside" in keys:
        return "gradient" if keys["outside"] == "gradient" else "outside"
    return "ours" if is_ours(settings.search.strategy) else "evosax"


def _check_same(
    path: Path,
    settings: Settings,
    problem: Problem,
    configs: dict[str, Settings],
    methods: dict[str, dict[str, Any]],
    evaluations: int,
    shape: str | None,
) -> None:
    """Refuse to add to a comparison of other settings or files; record new methods."""
    shared = {
        key: value for key, value in to_plain(settings).items() if key not in ("seed", "country")
    }
    if shape:  # its weights are drawn from the seed
        shared["model"] = {"path": shape, "dtype": settings.model.dtype, "seed": settings.seed}
    digests = problem.digests()
    record = {
        "evaluations": evaluations,
        "config": shared,
        "digests": {name: digests[name] for name in ("weights", "architecture", "survey")},
        "targets": {target.code: target.scores for target in problem.targets},
        "methods": methods,
        "files": {label: file_digests(each) for label, each in configs.items()},
    }
    record = json.loads(json.dumps(record))
    if path.exists():
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
            changed = _changes(old, record)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{path}: cannot be read ({reason}); give another --output") from error
        if changed:
            raise UserError(
                f"--output={path.parent} holds a comparison of other settings: "
                f"{'; '.join(changed)}; give another --output"
            )
        for kind in _BY_LABEL:
            record[kind] = old.get(kind, {}) | record[kind]
    write_json(path, record)


# Parts of comparison.json to which another method or country may add, and what is said of a change.
_BY_LABEL = {
    "targets": "the target of {} changed",
    "methods": "the keys of {!r} changed",
    "files": "a file of {!r} changed",
}


def _changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the differences that make two contents of comparison.json two comparisons."""
    evaluations = old["evaluations"]
    changes = [f"--evaluations was {evaluations}"] if evaluations != new["evaluations"] else []
    then = values_of_then() | flatten(with_new_names(old["config"]))
    now = flatten(new["config"])
    changes += [f"{key} was {then.get(key)!r}" for key in now if then.get(key) != now[key]]
    before = old.get("digests", {})
    changes += [
        f"the {name} changed"
        for name, digest in new["digests"].items()
        if before.get(name, digest) != digest
    ]
    for kind, words in _BY_LABEL.items():
        before = old.get(kind, {})
        changes += [
            words.format(label)
            for label, value in new[kind].items()
            if before.get(label, value) != value
        ]
    return changes


def _write(folder: Path, runs: list[Run], evaluations: int, notice: str | None) -> None:
    summaries = summarise(runs, evaluations)
    write_summary_csv(folder / "summary.csv", summaries)
    write_file(folder / "table.md", render_markdown(summaries, evaluations).encode())
    title = f"Best loss after {evaluations:,} evaluations"
    plot_finals(runs, evaluations, Sheet(folder / "finals", title, notice))
    curves = Sheet(folder / "curves", "Best loss over evaluations", notice)
    plot_curves(runs, evaluations, curves)
    print_comparison(summaries, evaluations)
    print(f"\n{folder}: histories.csv, summary.csv, table.md, finals.png, curves.png (and .svg)")
