"""What a run tells: its settings before, its result after, and the tuned prompt as a file."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import config_dict

from jaxalign.devices.distributed import is_first
from jaxalign.devices.mesh import copy_everywhere, shape_of
from jaxalign.engine import Engine
from jaxalign.evolve import RunState
from jaxalign.files import write_file, write_json
from jaxalign.model import parameter_bytes, parameter_count, to_safetensors
from jaxalign.problem import Problem, in_full_precision
from jaxalign.report import print_header, print_result, print_results
from jaxalign.report.numbers import format_loss
from jaxalign.run.initialization import POPULATION
from jaxalign.run.provenance import as_number, describe_device
from jaxalign.run.refine import polish, rescore
from jaxalign.run.startup import StartUp
from jaxalign.run.summary import of_country, summarise, tell_items, tell_rescored, together
from jaxalign.run.workdir import Workdir
from jaxalign.survey import DISTRIBUTION

_SHOWN = 4  # countries that are told of in full before a run
FILES = {
    "soft_prompt.safetensors": "the tuned prompt, prompt_embeddings [L, D]",
    "soft_prompt_polished.safetensors": "the same after gradient descent",
    "population.safetensors": "the last members' prompts, for prompt.init of another run",
    "pareto.csv": "what nothing seen beats on all objectives; the prompts lie beside it",
    "summary.json": "scores, losses, cost",
    "metrics.jsonl": "one line per generation",
    "tensorboard/": "the same as curves, and the plots, for TensorBoard",
    "report/index.html": "the report; its plots and table lie beside it",
    "config.json": "what was run, to run it again",
    "checkpoints/": "the search's state, to go on from",
}
FILES_OF_SEVERAL = {
    "countries/": "for each country what a run for it alone would leave",
    "report/index.html": "all countries on one page that leads to each one's own",
    "summary.json": "losses and scores of all, cost",
    **{
        name: FILES[name]
        for name in ("metrics.jsonl", "tensorboard/", "config.json", "checkpoints/")
    },
}


def tell_before(
    config: config_dict.ConfigDict,
    problem: Problem,
    engine: Engine,
    path: Path,
    begun: int | None,
    startup: StartUp,
) -> None:
    """Prints what is about to run; `begun` is the generation that a resumed run goes on after."""
    trie, length, search = problem.questions.trie, config.prompt.length, config.search
    wording = "validated" if problem.instrument.validated else "wording not validated"
    naive = [format_loss(loss) for loss in engine.naive.loss_GP[:, 0]]
    each = f" for each of {len(naive)} countries" if len(naive) > 1 else ""
    rows = {
        "model": f"{config.model.path}, {parameter_count(problem.weights):,} parameters, "
        f"{config.model.dtype}",
        "device": describe_device(),
        **_mesh_row(problem),
        "survey": f"{problem.instrument.title} ({len(problem.instrument.items)} items, {wording})",
        "formats": ", ".join(shown.name for shown in problem.questions.formats),
        "target": _targets(config, problem),
        "search": f"{search.strategy}, {search.population} candidates{each} of {length} x "
        f"{problem.model_config.width}, {search.generations} generations",
        "token trie": f"{trie.size} tokens for {len(trie.answer_nodes_Q)} questions, "
        f"{trie.saving(length):.1f} times fewer than a padded batch",
        "generation": f"{engine.candidates * engine.tokens_each:,} tokens, "
        f"{engine.chunk} candidates at a time",
        "memory": f"{parameter_bytes(problem.weights) / 2**20:,.0f} MiB weights, "
        f"{engine.working_bytes / 2**20:,.0f} MiB working",
        "naive loss": " ".join(naive[:_SHOWN]) + (" …" if len(naive) > _SHOWN else ""),
        "start-up": str(startup),
        "workdir": str(path),
    }
    if engine.full_naive is not None:
        moved_C = np.abs(engine.naive.scores_PC[0] - engine.full_naive.scores_PC[0])
        rows["quantization"] = (
            f"{config.model.quantization}, which moves the naive scores by {np.mean(moved_C):.2g} "
            f"on average, {np.max(moved_C):.2g} at most; what is best is scored again without it"
        )
    if begun is not None:
        rows["resumed"] = f"after generation {begun}"
    print_header(rows, problem.notice)


def finish(
    config: config_dict.ConfigDict,
    problem: Problem,
    engine: Engine,
    workdir: Workdir,
    state: RunState,
    records: list[dict[str, Any]],
) -> dict[str, Any]:
    """Writes prompts, summaries and reports, prints the results; gives the summary.

    Of several processes the first one does; the others give an empty summary.

    A run for several countries writes for each a folder `countries/CODE` that reads like the
    workdir of a run for that country alone.
    """
    # Loaded here, since matplotlib takes 0.4 s, which the first generation need not wait for.
    from jaxalign.report.countries import write_countries_report
    from jaxalign.report.page import write_report

    several = len(problem.targets) > 1
    rescored = None
    full = in_full_precision(config, problem)
    if config.objective.readout == "sampled" or full is not problem:
        rescored = rescore(config, full, engine, state.best_prompt_GLD)
    best_GLD = np.asarray(state.best_prompt_GLD, np.float32)
    steps = config.search.polish
    polished_G = [
        polish(config, full, engine.task, prompt_LD, place, steps)
        for place, prompt_LD in enumerate(best_GLD if steps else [])
    ]
    state = copy_everywhere(problem.mesh, state)
    members_G = [_members(engine, state, place) for place in range(len(problem.targets))]
    state = dataclasses.replace(
        state,
        best_scores_GC=np.asarray(state.best_scores_GC),
        metrics=jax.device_get(state.metrics),
    )
    if not is_first():  # all processes have had their part in what was computed
        return {}
    summaries = {}
    for place, target in enumerate(problem.targets):
        folder = workdir.path / "countries" / target.code if several else workdir.path
        summary = summarise(config, problem, engine, state, records, place)
        if rescored is not None:
            tell_rescored(summary, problem.task.terms, rescored, place)
        tell_items(summary, problem)
        _write_prompt(folder / "soft_prompt.safetensors", best_GLD[place], problem.notice)
        if steps:
            polished = polished_G[place]
            prompt_LD = np.asarray(polished.prompt_LD)
            _write_prompt(folder / "soft_prompt_polished.safetensors", prompt_LD, problem.notice)
            summary["polish"] = {
                "method": "gradient descent (Adam) on the expected answers, after the search",
                "steps": steps,
                "loss": as_number(polished.loss),
                "forward_equivalents": round(polished.evaluations_forward_equivalents, 1),
            }
        if (members_PLD := members_G[place]) is not None:
            population = to_safetensors({"population": members_PLD}, problem.notice)
            write_file(folder / POPULATION, population)
        if state.front is not None:
            _write_front(folder, problem, state, engine.evolution.objectives, place)
        if several:
            own = [of_country(record, target.code) for record in records]
            lines = [json.dumps(record, allow_nan=False) + "\n" for record in own]
            write_file(folder / "metrics.jsonl", "".join(lines).encode())
            write_file(folder / "config.json", (workdir.path / "config.json").read_bytes())
        write_json(folder / "summary.json", summary)
        write_report(folder)
        summaries[target.code] = summary
    if not several:
        files = [
            (str(workdir.path / name), line)
            for name, line in FILES.items()
            if (workdir.path / name).exists()
        ]
        print_result(summary, files, problem.notice)
        return summary
    summary = together(summaries)
    write_json(workdir.path / "summary.json", summary)
    write_countries_report(workdir.path)
    files = [(str(workdir.path / name), line) for name, line in FILES_OF_SEVERAL.items()]
    print_results(summaries, files, problem.notice)
    return summary


def _mesh_row(problem: Problem) -> dict[str, str]:
    if problem.mesh is None:
        return {}
    population, model = shape_of(problem.mesh)
    return {"mesh": f"candidates over {population} x weights over {model} devices"}


def _targets(config: config_dict.ConfigDict, problem: Problem) -> str:
    items = len(problem.instrument.items)
    texts = [
        f"{target.country}, {config.survey.targets}: "
        + (
            f"the answers to {items} items"
            if problem.instrument.scoring == DISTRIBUTION
            else " ".join(f"{key} {value:g}" for key, value in target.scores.items())
        )
        for target in problem.targets[:_SHOWN]
    ]
    left = len(problem.targets) - len(texts)
    return "; ".join(texts) + (f"; and {left} more" if left else "")


def _write_prompt(path: Path, prompt_LD: np.ndarray, notice: str | None) -> None:
    write_file(path, to_safetensors({"prompt_embeddings": prompt_LD}, notice))


def _members(engine: Engine, state: RunState, place: int) -> np.ndarray | None:
    """The last members' prompts, which another run may start from; None where there are none."""
    strategy, space = engine.evolution.strategy, engine.beginning.space
    if not strategy.exchanges:
        return None
    own = jax.tree.map(lambda leaf: leaf[place], state.strategy)
    members = strategy.members(own).reshape(-1, *space.shape)
    return np.asarray(space.prompts(members), np.float32)[: int(strategy.active(own))]


def _write_front(
    folder: Path, problem: Problem, state: RunState, objectives: tuple[int, ...], place: int
) -> None:
    """Writes pareto.csv and pareto.safetensors: no prompt seen beats one of these on all terms."""
    front = jax.tree.map(lambda leaf: np.asarray(leaf)[place], state.front)
    order = [row for row in np.argsort(front.terms_KO[:, 0]) if np.isfinite(front.terms_KO[row, 0])]
    names = [problem.task.terms[index] for index in objectives]
    lines = [",".join(["prompt", *names])]
    for number, row in enumerate(order):
        lines.append(",".join([str(number), *(str(as_number(v)) for v in front.terms_KO[row])]))
    write_file(folder / "pareto.csv", ("\n".join(lines) + "\n").encode())
    prompts = {"prompts": front.prompts_KLD[np.array(order, int)].astype(np.float32)}
    write_file(folder / "pareto.safetensors", to_safetensors(prompts, problem.notice))
