"""What a finished search leaves: prompts, summaries and reports."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxalign.devices.mesh import copy_everywhere
from jaxalign.files import write_file, write_json
from jaxalign.fitness import Execution
from jaxalign.model import to_safetensors
from jaxalign.problem import Problem, in_full_precision
from jaxalign.report import print_result, print_results
from jaxalign.run.engine import Engine
from jaxalign.run.initialization import POPULATION
from jaxalign.run.metrics import as_number
from jaxalign.run.refine import polish, rescore
from jaxalign.run.summary import Outcome, join_summaries, record_of_country, summarize
from jaxalign.search.gradient import Store
from jaxalign.search.state import RunState
from jaxalign.settings import Settings

FILES = {
    "soft_prompt.safetensors": "the tuned prompt, prompt_embeddings [L, D]",
    "soft_prompt_polished.safetensors": "the same after gradient descent",
    "population.safetensors": "the last members' prompts, for prompt.init of another run",
    "pareto.csv": "the Pareto front of all candidates; the prompts lie beside it",
    "summary.json": "scores, losses, cost",
    "metrics.jsonl": "one line per generation",
    "tensorboard/": "the same as curves, and the plots, for TensorBoard",
    "report/index.html": "the report; its plots and table lie beside it",
    "config.json": "what was run, to run it again",
    "checkpoints/": "the search's state, to resume from",
    "polish/": "the same of the gradient descent",
}
FILES_OF_COUNTRIES = {
    "countries/": "for each country what a run for it alone would leave",
    "report/index.html": "all countries on one page that leads to each one's own",
    "summary.json": "losses and scores of all, cost",
    **{
        name: FILES[name]
        for name in ("metrics.jsonl", "tensorboard/", "config.json", "checkpoints/", "polish/")
    },
}


def conclude(
    settings: Settings,
    problem: Problem,
    engine: Engine,
    state: RunState,
    records: list[dict[str, Any]],
    early: str | None = None,
    *,
    store: Callable[[str, int], Store] | None = None,
) -> Outcome:
    """Score the best prompts again where that is due, polish them, and bring all to the host.

    In a multi-process run every process has to call this.

    Args:
      settings: of the run.
      problem: what was asked of which model.
      engine: that ran the search.
      state: the last one; its arrays are read, not donated.
      records: all lines of metrics.jsonl.
      early: the key that ended the search before its last generation.
      store: of a country's code and the gradient steps before: what a polish goes on from.

    Raises:
      Stopped: the store said so.
    """
    if state.chosen is not None:  # what does best elsewhere is the result
        state = dataclasses.replace(
            state,
            best_prompt_GLD=state.chosen.prompt_GLD,
            best_scores_GC=state.chosen.scores_GC,
            metrics=dataclasses.replace(
                state.metrics, best_loss_G=state.chosen.loss_G, terms_GO=state.chosen.terms_GO
            ),
        )
    full = in_full_precision(problem, settings.model.dtype)
    rescored = None
    if problem.has_noisy_loss or full is not problem:
        alone = full.evaluator(Execution(engine.chunk, settings.evaluation.attention))
        rescored = rescore(alone, full.weights, engine.task, state.best_prompt_GLD, settings.seed)
    best_GLD, steps = np.asarray(state.best_prompt_GLD, np.float32), settings.search.polish
    full = dataclasses.replace(full, task=engine.task)
    polished_G = [
        polish(
            *(settings, full, prompt_LD, index, steps),
            store=store(problem.targets[index].code, index * steps) if store else None,
        )
        for index, prompt_LD in enumerate(best_GLD if steps else [])
    ]
    state = copy_everywhere(problem.mesh, state)
    members_G = [_members(engine, state, index) for index in range(len(problem.targets))]
    state = dataclasses.replace(
        state,
        best_prompt_GLD=best_GLD,
        best_scores_GC=np.asarray(state.best_scores_GC),
        metrics=jax.device_get(state.metrics),
    )
    return Outcome(
        settings, problem, engine, state, records, early, members_G, rescored, polished_G
    )


def write_results(outcome: Outcome, workdir: Path) -> dict[str, Any]:
    """Write prompts, summaries and reports, print the results, and return the summary.

    A multi-country run has for each country a folder `countries/CODE` that reads like the workdir
    of a run for that country alone.
    """
    # Loaded here, since matplotlib takes 0.4 s, which the first generation need not wait for.
    from jaxalign.report.countries import write_countries_report
    from jaxalign.report.page import write_report

    problem = outcome.problem
    codes = [target.code for target in problem.targets]
    summaries = {code: summarize(outcome, index) for index, code in enumerate(codes)}
    if len(codes) == 1:
        (summary,) = summaries.values()
        _write_prompts(outcome, 0, workdir)
        write_json(workdir / "summary.json", summary)
        write_report(workdir)
        files = {name: line for name, line in FILES.items() if (workdir / name).exists()}
        print_result(summary, _in(workdir, files), problem.notice)
        return summary
    for index, (code, summary) in enumerate(summaries.items()):
        folder = workdir / "countries" / code
        _write_prompts(outcome, index, folder)
        own = [record_of_country(record, code) for record in outcome.records]
        lines = [json.dumps(record, allow_nan=False) + "\n" for record in own]
        write_file(folder / "metrics.jsonl", "".join(lines).encode())
        write_file(folder / "config.json", (workdir / "config.json").read_bytes())
        write_json(folder / "summary.json", summary)
        write_report(folder)
    summary = join_summaries(summaries)
    write_json(workdir / "summary.json", summary)
    write_countries_report(workdir)
    files = {name: line for name, line in FILES_OF_COUNTRIES.items() if (workdir / name).exists()}
    print_results(summaries, _in(workdir, files), problem.notice)
    return summary


def _in(workdir: Path, files: dict[str, str]) -> list[tuple[str, str]]:
    return [(str(workdir / name), line) for name, line in files.items()]


def _members(engine: Engine, state: RunState, index: int) -> np.ndarray | None:
    """Return the last members' prompts, from which another run may start, if there are any."""
    strategy, space = engine.plan.strategy, engine.plan.space
    if not strategy.exchanges:
        return None
    own = jax.tree.map(lambda leaf: leaf[index], state.strategy)
    members = strategy.members(own).reshape(-1, *space.shape)
    return np.asarray(space.prompts(members), np.float32)[: int(strategy.active(own))]


def _write_prompts(outcome: Outcome, index: int, folder: Path) -> None:
    """Write the best prompt, the polished one, the population and the Pareto front."""
    state, members_PLD = outcome.state, outcome.members_G[index]
    tensors = {"soft_prompt": ("prompt_embeddings", state.best_prompt_GLD[index])}
    if outcome.polished_G:
        polished_LD = np.asarray(outcome.polished_G[index].prompt_LD)
        tensors["soft_prompt_polished"] = "prompt_embeddings", polished_LD
    if members_PLD is not None:
        tensors[Path(POPULATION).stem] = "population", members_PLD
    if state.front is not None:
        front = jax.tree.map(lambda leaf: np.asarray(leaf)[index], state.front)
        order = np.argsort(front.terms_KO[:, 0])
        order = order[np.isfinite(front.terms_KO[order, 0])]
        names = [
            outcome.engine.task.goal.terms[term] for term in outcome.engine.evolution.objectives
        ]
        lines = [",".join(["prompt", *names])]
        for number, terms_O in enumerate(front.terms_KO[order]):
            lines.append(",".join([str(number), *map(str, map(as_number, terms_O))]))
        write_file(folder / "pareto.csv", ("\n".join(lines) + "\n").encode())
        tensors["pareto"] = "prompts", front.prompts_KLD[order].astype(np.float32)
    for file, (name, array) in tensors.items():
        content = to_safetensors({name: array}, outcome.problem.notice)
        write_file(folder / f"{file}.safetensors", content)
