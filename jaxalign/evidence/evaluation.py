"""The whole evaluation of one tuned prompt: what evaluation.json holds."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy import stats

from jaxalign.evidence.answers import answer_table
from jaxalign.evidence.asking import Asker
from jaxalign.evidence.baselines import NAIVE, PERSONA, TUNED, Baselines, Method
from jaxalign.evidence.culturalbench import ask_culturalbench
from jaxalign.evidence.parts import Parts
from jaxalign.evidence.respondents import add_intervals, sampling_errors, scores_and_loss
from jaxalign.evidence.robustness import (
    ALONE,
    TEST,
    TUNE,
    Way,
    ask_everywhere,
    explained_by,
    mean_losses,
    ways_to_ask,
)
from jaxalign.evidence.siblings import Sibling
from jaxalign.evidence.side_effects import measure_side_effects
from jaxalign.evidence.verdict import verdict
from jaxalign.problem import Problem
from jaxalign.prompts import ask_presentation, load_texts
from jaxalign.settings import Settings
from jaxalign.survey import Instrument, Quiz, distance_to_target, null_baseline, targets_for

_REFERENCE = "US"  # of differences between countries, where it is among them


@dataclass(frozen=True, eq=False)
class Evidence:
    """Hold what an evaluation works on.

    Attributes:
      settings: of the run.
      problem: what was asked of which model, with one target.
      prompt_LD: the tuned prompt.
      siblings: other runs' prompts.
      wordings: other wordings of the same survey.
      easy, hard: CulturalBench, or None.
      seed: of respondents, random prompts, demonstrations and resamples.
    """

    settings: Settings
    problem: Problem
    prompt_LD: np.ndarray
    siblings: Sequence[Sibling] = ()
    wordings: Sequence[Instrument] = ()
    easy: Quiz | None = None
    hard: Quiz | None = None
    seed: int = 0

    @functools.cached_property
    def asker(self) -> Asker:
        """Return what asks the model."""
        return Asker(self.problem, self.settings.evaluation.attention)


def evaluate_prompt(
    evidence: Evidence, folder: Path, inputs: dict[str, Any], tell: Callable[..., None]
) -> dict[str, Any]:
    """Evaluate a prompt part by part; finished parts are not done again.

    Args:
      evidence: what is evaluated.
      folder: where parts are kept.
      inputs: what decides the result, as plain values.
      tell: called with each part's name and seconds, as `Parts` does.
    """
    settings, problem = evidence.settings, evidence.problem
    norm = settings.objective.norm
    baselines = Baselines(evidence.asker, problem, evidence.prompt_LD, norm)
    parts = Parts(folder, inputs, tell)
    first = parts.get("baselines", lambda: _baselines(evidence, baselines))
    ways, skipped = [], list(first.get("skipped", ()))
    for way in ways_to_ask(problem, evidence.wordings):
        fault = evidence.asker.fault(ask_presentation(way.presentation))
        if fault is None:
            ways.append(way)
        else:
            skipped.append({"name": way.presentation.name, "reason": fault})
    robustness = parts.get("robustness", lambda: _robustness(evidence, ways, first["persona"]))
    answers = parts.get_if_asked("answers", lambda: _answers(evidence, baselines))
    side_effects = parts.get_if_asked(
        "side_effects",
        lambda: measure_side_effects(
            problem, evidence.prompt_LD, first["persona"], settings.evaluation.attention
        ),
    )
    respondents = parts.get("respondents", lambda: _respondents(evidence, baselines))
    countries = parts.get("countries", lambda: _countries(evidence, baselines))
    quiz = parts.get_if_asked("culturalbench", lambda: _culturalbench(evidence))
    trie = problem.questions.trie
    result = {
        "formats": {
            "seen": [way.presentation.name for way in ways if way.part == TUNE],
            "held_out": [way.presentation.name for way in ways if way.part == TEST],
            "skipped": [*skipped, *parts.skipped, *(quiz or {}).pop("left_out", ())],
        },
        "methods": first["methods"],
        "personas": first["personas"],
        "robustness": robustness,
        "answers": answers,
        "side_effects": side_effects,
        "respondents": respondents,
        "countries": countries,
        "culturalbench": quiz,
        "trie": {
            "formats": len(problem.sets.tune),
            "tokens": trie.size,
            "padded": trie.padded,
            "saving": trie.saving(settings.prompt.length),
        },
        "seconds": parts.seconds,
    }
    return {"verdict": verdict(result)} | result


def _baselines(evidence: Evidence, baselines: Baselines) -> dict[str, Any]:
    problem, seed = evidence.problem, evidence.seed
    texts = load_texts(evidence.settings.prompt.texts)
    spoken, personas, skipped = baselines.texts(texts, seed)
    controls = baselines.controls(list(evidence.siblings), seed)
    methods = [baselines.tuned, baselines.naive, *spoken, *controls]
    keys = list(problem.instrument.dimensions)
    norm = evidence.settings.objective.norm
    nothing, nothing_C = null_baseline(problem.instrument, problem.scoring)
    target_GC = np.asarray(problem.task.goal.target_GC)
    nothing_loss = distance_to_target(problem.scoring, nothing_C, target_GC, norm)[0]
    rows: list[dict[str, Any]] = [_method_row(method, keys) for method in methods]
    rows.insert(
        2,
        {
            "name": nothing,
            "group": "reference",
            "scores": dict(zip(keys, np.asarray(nothing_C).tolist(), strict=True)),
            "loss": float(nothing_loss),
        },
    )
    statistic = scores_and_loss(evidence.asker, norm)
    add_intervals(rows, methods, statistic, seed)
    persona = next((method.text for method in methods if method.name == PERSONA), None)
    return {"methods": rows, "personas": personas, "persona": persona, "skipped": skipped}


def _method_row(method: Method, keys: Sequence[str]) -> dict[str, Any]:
    several = len(method.losses_V) > 1
    return {
        "name": method.name,
        "group": method.group,
        "scores": dict(zip(keys, map(float, method.scores_C), strict=True)),
        "loss": method.loss,
        "spread": [float(method.losses_V.min()), float(method.losses_V.max())] if several else None,
        "note": method.note,
    }


def _robustness(evidence: Evidence, ways: Sequence[Way], persona: str | None) -> dict[str, Any]:
    problem = evidence.problem
    norm = evidence.settings.objective.norm
    keys = list(problem.instrument.dimensions)
    found = ask_everywhere(evidence.asker, ways, evidence.prompt_LD, persona, norm, keys)
    rows = [
        {
            "name": way.presentation.name,
            "part": way.part,
            "levels": way.presentation.levels,
            "methods": {method: each[index] for method, each in found.items()},
        }
        for index, way in enumerate(ways)
    ]
    targets = targets_for(problem.instrument, evidence.settings.survey.targets).values()
    dimensions = []
    for key in keys:
        row: dict[str, Any] = {
            "dimension": key,
            "between_countries": float(np.std([target.scores[key] for target in targets], ddof=1))
            if len(targets) > 1
            else None,
        }
        for method, each in found.items():
            scores = [
                one["scores"][key] for one, way in zip(each, ways, strict=True) if way.part != ALONE
            ]
            row[method] = {"mean": float(np.mean(scores)), "spread": float(np.std(scores, ddof=1))}
        dimensions.append(row)
    summary = {}
    for method, each in found.items():
        loss_W = np.array([one["loss"] for one in each])
        dealt = [row for row, way in enumerate(ways) if way.part != ALONE]
        levels = [ways[row].presentation.levels for row in dealt]
        tuned_W = np.array([one["loss"] for one in found["tuned"]])
        summary[method] = mean_losses(ways, loss_W, tuned_W, evidence.seed) | {
            "explained": explained_by(levels, loss_W[dealt])
        }
    return {"rows": rows, "dimensions": dimensions, "summary": summary, "persona": persona}


def _answers(evidence: Evidence, baselines: Baselines) -> dict[str, Any]:
    prompts = {NAIVE: evidence.prompt_LD[:0], TUNED: evidence.prompt_LD}
    shares = {
        NAIVE: baselines.naive.shares_FIA[0],
        TUNED: baselines.tuned.shares_FIA[0],
    }
    attention = evidence.settings.evaluation.attention
    return answer_table(evidence.problem, prompts, shares, attention)


def _respondents(evidence: Evidence, baselines: Baselines) -> list[dict[str, Any]]:
    problem = evidence.problem
    return sampling_errors(
        [baselines.tuned, baselines.naive],
        jax.device_get(problem.scoring),
        list(problem.instrument.dimensions),
        scores_and_loss(evidence.asker, evidence.settings.objective.norm),
        evidence.seed,
    )


def _countries(evidence: Evidence, baselines: Baselines) -> dict[str, Any] | None:
    others = [each for each in evidence.siblings if not each.shuffled]
    own = evidence.problem.targets[0]
    others = [each for each in others if each.country != own.code]
    if not others or evidence.settings.survey.shuffle:
        return None
    keys = list(evidence.problem.instrument.dimensions)
    known = targets_for(evidence.problem.instrument, evidence.settings.survey.targets)
    codes = [own.code, *(each.country for each in others)]
    target_GC = np.array([[known[code].scores[key] for key in keys] for code in codes])
    scores_GC, loss_GG, naive_G = baselines.compare_countries(others, target_GC)
    reference = codes.index(_REFERENCE) if _REFERENCE in codes else 0
    tuned_GC, target_GC = (np.asarray(each, np.float64) for each in (scores_GC, target_GC))
    # Kendall's tau-b. Four countries are too few for a small p: it is 2 / 4! = 0.083 at least.
    ranked = zip(keys, tuned_GC.T, target_GC.T, strict=True) if len(codes) > 2 else ()
    tau = {key: stats.kendalltau(tuned_G, target_G) for key, tuned_G, target_G in ranked}
    return {
        "reference": codes[reference],
        "codes": codes,
        "names": {code: known[code].country for code in codes},
        "differences": [
            {
                "country": code,
                "dimension": key,
                "target": float(target_GC[row, column] - target_GC[reference, column]),
                "tuned": float(tuned_GC[row, column] - tuned_GC[reference, column]),
            }
            for row, code in enumerate(codes)
            if row != reference
            for column, key in enumerate(keys)
        ],
        "tau": [
            {
                "dimension": key,
                "tau": _finite(each.statistic),
                "p": _finite(each.pvalue),
                "n": len(codes),
            }
            for key, each in tau.items()
        ],
        "matrix": loss_GG.tolist(),
        "naive": naive_G.tolist(),
    }


def _culturalbench(evidence: Evidence) -> dict[str, Any] | None:
    if evidence.easy is None and evidence.hard is None:
        return None
    return ask_culturalbench(
        evidence.asker,
        evidence.easy,
        evidence.hard,
        evidence.prompt_LD,
        evidence.problem.targets[0].country,
        evidence.seed,
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
