"""What is printed before a search: its settings, sizes and naive loss."""

import functools
from pathlib import Path

import jax
import numpy as np

from jaxalign.devices.distributed import smallest
from jaxalign.devices.memory import device_bytes
from jaxalign.devices.mesh import fits_whole, shape_of
from jaxalign.model import parameter_bytes, parameter_count, quantize
from jaxalign.problem import Problem
from jaxalign.prompts import describe_chat
from jaxalign.report import print_header
from jaxalign.report.numbers import format_loss
from jaxalign.run.engine import Engine
from jaxalign.run.option_mass import OptionMass, describe_mass
from jaxalign.run.provenance import describe_device
from jaxalign.run.startup import StartUp
from jaxalign.settings import Settings
from jaxalign.survey import DISTRIBUTION

_SHOWN = 4  # countries that are shown in full


def print_start(
    settings: Settings,
    problem: Problem,
    engine: Engine,
    path: Path,
    *,
    mass: OptionMass,
    resumed: int | None,
    startup: StartUp,
) -> None:
    """Print what is about to run.

    Args:
      settings: of the run.
      problem: what is asked of which model.
      engine: compiled.
      path: the workdir.
      mass: what the model would say without a soft prompt.
      resumed: the newest generation of a resumed run, or None.
      startup: what has been timed so far.
    """
    trie, length, search = problem.questions.trie, settings.prompt.length, settings.search
    wording = "validated" if problem.instrument.validated else "wording not validated"
    naive = [format_loss(loss) for loss in engine.naive.loss_GP[:, 0]]
    each = f" for each of {len(naive)} countries" if len(naive) > 1 else ""
    tokens = engine.plan.candidates * engine.tokens_each
    options, is_little = describe_mass(problem, mass)
    rows = {
        "model": f"{settings.model.path}, {parameter_count(problem.weights):,} parameters, "
        f"{settings.model.dtype}",
        "device": describe_device(),
        "mesh": describe_mesh(problem, smallest(device_bytes(jax.local_devices()[0]))),
        "survey": f"{problem.instrument.title} ({len(problem.instrument.items)} items, {wording})",
        "chat": describe_chat(problem.tokenizer, settings.model.chat_template),
        "formats": _formats(problem),
        "target": _targets(settings, problem),
        "search": f"{search.strategy}, {search.population} candidates{each} of {length} x "
        f"{problem.model_config.width}, {search.generations} generations",
        "token trie": f"{trie.size} tokens for {len(trie.answer_nodes_Q)} questions, "
        f"{trie.saving(length):.1f} times fewer than a padded batch",
        "generation": f"{tokens:,} tokens, {engine.chunk} candidates at a time",
        "memory": f"{parameter_bytes(problem.weights) / 2**20:,.0f} MiB weights, "
        f"{engine.working_bytes / 2**20:,.0f} MiB working",
        "naive loss": " ".join(naive[:_SHOWN]) + (" …" if len(naive) > _SHOWN else ""),
        "options": options,
        "start-up": str(startup),
        "workdir": str(path),
    }
    if problem.mesh is None:
        del rows["mesh"]
    if engine.full_naive is not None:
        moved_C = np.abs(engine.naive.scores_PC[0] - engine.full_naive.scores_PC[0])
        rows["quantization"] = (
            f"{settings.model.quantization}, which moves the naive scores by {np.mean(moved_C):.2g}"
            f" on average, {np.max(moved_C):.2g} at most; the best prompt is scored again without"
        )
    if is_little:
        rows["warning"] = (
            "little of what the model would say is an option, so its options say little of it; "
            "another model.chat_template may suit it better"
        )
    if resumed is not None:
        rows["resumed"] = f"after generation {resumed}"
    print_header(rows, problem.notice)


def _formats(problem: Problem) -> str:
    tune, choose, _ = problem.sets
    more = f"; chosen by {', '.join(way.name for way in choose)}" if choose else ""
    return ", ".join(way.name for way in tune) + more


def describe_mesh(problem: Problem, memory: int | None) -> str:
    """Say how devices share the work, and if 8-bit weights would spare them to split the model.

    Args:
      problem: whose weights lie on the mesh.
      memory: bytes of a device; None if unknown.
    """
    population, model = shape_of(problem.mesh)
    words = f"candidates over {population} x weights over {model} devices"
    if model == 1 or memory is None or problem.full_naive_QA is not None:
        return words
    small = jax.eval_shape(functools.partial(quantize, mode="int8", keep=True), problem.weights)
    if not fits_whole(parameter_bytes(small), memory):
        return words
    return (
        f"{words}; 8-bit weights fit one device: model.quantization=int8 with mesh.model=1 needs "
        "no sums over devices and should be faster"
    )


def _targets(settings: Settings, problem: Problem) -> str:
    items = len(problem.instrument.items)
    texts = [
        f"{target.country}, {settings.survey.targets}: "
        + (
            f"the answers to {items} items"
            if problem.instrument.scoring == DISTRIBUTION
            else " ".join(f"{key} {value:g}" for key, value in target.scores.items())
        )
        for target in problem.targets[:_SHOWN]
    ]
    left = len(problem.targets) - len(texts)
    return "; ".join(texts) + (f"; and {left} more" if left else "")
