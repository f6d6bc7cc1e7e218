"""What a run tells: its settings before, its result after, and the tuned prompt as a file."""

from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import config_dict

from jaxalign.engine import Engine
from jaxalign.evolve import RunState
from jaxalign.model import parameter_bytes, parameter_count, to_safetensors
from jaxalign.problem import Problem
from jaxalign.report import print_header, print_result, write_report
from jaxalign.report.files import write_file
from jaxalign.survey import distance
from jaxalign.workdir import Workdir, as_number, describe_device

FILES = {
    "soft_prompt.safetensors": "the tuned prompt, prompt_embeddings [L, D]",
    "summary.json": "scores, losses, cost",
    "metrics.jsonl": "one line per generation",
    "tensorboard/": "the same as curves for TensorBoard",
    "report/index.html": "the report; its plots and table lie beside it",
    "config.json": "what was run, to run it again",
    "checkpoints/": "the search's state, to go on from",
}


def tell_before(
    config: config_dict.ConfigDict, problem: Problem, engine: Engine, path: Path, begun: int | None
) -> None:
    """Prints what is about to run; `begun` is the generation that a resumed run goes on after."""
    trie, length, search = problem.questions.trie, config.prompt.length, config.search
    wording = "validated" if problem.instrument.validated else "wording not validated"
    target = " ".join(f"{key} {value:g}" for key, value in problem.target.scores.items())
    rows = {
        "model": f"{config.model.path}, {parameter_count(problem.weights):,} parameters, "
        f"{config.model.dtype}",
        "device": describe_device(),
        "survey": f"{problem.instrument.title} ({len(problem.instrument.items)} items, {wording})",
        "target": f"{problem.target.country}, {config.survey.targets}: {target}",
        "search": f"{search.strategy}, {search.population} candidates of {length} x "
        f"{problem.model_config.width}, {search.generations} generations",
        "token trie": f"{trie.size} tokens for {len(trie.answer_nodes_Q)} questions, "
        f"{trie.saving(length):.1f} times fewer than a padded batch",
        "generation": f"{engine.tokens:,} tokens, {engine.chunk} candidates at a time",
        "memory": f"{parameter_bytes(problem.weights) / 2**20:,.0f} MiB weights, "
        f"{engine.working_bytes / 2**20:,.0f} MiB working",
        "naive loss": f"{engine.naive.loss_P[0]:.1f}",
        "workdir": str(path),
    }
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
    """Writes the prompt, summary.json and the report, prints the result; gives the summary."""
    summary = _summarise(config, problem, engine, state, records)
    prompt = {"prompt_embeddings": np.asarray(state.best_prompt_LD, np.float32)}
    content = to_safetensors(prompt, problem.notice)
    write_file(workdir.path / "soft_prompt.safetensors", content)
    workdir.write_json("summary.json", summary)
    write_report(workdir.path)
    files = [(str(workdir.path / name), line) for name, line in FILES.items()]
    print_result(summary, files, problem.notice)
    return summary


def _summarise(
    config: config_dict.ConfigDict,
    problem: Problem,
    engine: Engine,
    state: RunState,
    records: list[dict[str, Any]],
) -> dict[str, Any]:
    keys = list(problem.instrument.dimensions)
    constant_C = np.asarray(problem.scoring.constant_C)
    constant = distance(constant_C, problem.task.target_C, config.objective.norm)
    timed = [record for record in records if record["seconds"]]
    seconds = sum(record["seconds"] for record in timed)
    return {
        "country": problem.target.code,
        "country_name": problem.target.country,
        "model": config.model.path,
        "notice": problem.notice,
        "strategy": config.search.strategy,
        "generations": int(state.metrics.generation),
        "evaluations": int(state.metrics.evaluations),
        "loss": {
            "constant": as_number(constant),
            "naive": as_number(engine.naive.loss_P[0]),
            "best": as_number(state.metrics.best_loss),
        },
        "scores": dict(zip(keys, map(as_number, state.best_scores_C), strict=True)),
        "naive_scores": dict(zip(keys, map(as_number, engine.naive.scores_PC[0]), strict=True)),
        "target": problem.target.scores,
        "target_source": f"{problem.target.source} ({problem.target.year})",
        "dimension_names": problem.instrument.dimensions,
        "constant": [float(value) for value in constant_C],
        "readout": config.objective.readout,
        "norm": config.objective.norm,
        "targets": config.survey.targets,
        "seconds": round(seconds, 2),
        "tokens_per_second": round(len(timed) * engine.tokens / seconds) if seconds else None,
        "hardware": describe_device(),
    }
