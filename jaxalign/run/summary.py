"""The content of summary.json: losses, scores, terms, cost."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from jaxalign.problem import Problem
from jaxalign.run.engine import Engine
from jaxalign.run.metrics import as_number
from jaxalign.run.provenance import describe_device
from jaxalign.run.refine import Rescored
from jaxalign.search.gradient import Descent
from jaxalign.search.state import RunState
from jaxalign.settings import Settings
from jaxalign.survey import (
    ShareScoring,
    distance_to_target,
    item_distances,
    null_baseline,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What a search that came to its end found, on the host.

    Attributes:
      settings, problem, engine: of the run.
      state: the last one.
      records: all lines of metrics.jsonl.
      early: the key that ended the search before its last generation, or None.
      members_G: the last members' prompts [P, L, D] of each country, or None.
      rescored: the best prompts evaluated again, or None.
      polished_G: each country's descent from its best prompt; none without a polish.
    """

    settings: Settings
    problem: Problem
    engine: Engine
    state: RunState
    records: list[dict[str, Any]]
    early: str | None
    members_G: list[np.ndarray | None]
    rescored: Rescored | None
    polished_G: list[Descent]


def summarize(outcome: Outcome, index: int) -> dict[str, Any]:
    """Return the summary of the country with this index among the targets."""
    settings, problem, state = outcome.settings, outcome.problem, outcome.state
    instrument, target, metrics = problem.instrument, problem.targets[index], state.metrics
    scoring, objective, goal = problem.scoring, problem.objective, outcome.engine.task.goal
    naive, asked = outcome.engine.unquantised, outcome.engine.naive
    baseline, baseline_C = null_baseline(instrument, scoring)
    target_GC = goal.target_GC[index : index + 1]
    (constant,) = distance_to_target(scoring, baseline_C, target_GC, objective.norm)
    timed = [record for record in outcome.records if record["seconds"]]
    seconds = sum(record["seconds"] for record in timed)
    tokens = sum(record["seconds"] * (record["tokens_per_second"] or 0) for record in timed)

    def scores(scores_C: Iterable[float]) -> dict[str, float | None]:
        return dict(zip(instrument.dimensions, map(as_number, scores_C), strict=True))

    def terms(terms_O: Iterable[float]) -> dict[str, float | None]:
        return dict(zip(goal.terms, map(as_number, terms_O), strict=True))

    summary = {
        "country": target.code,
        "country_name": target.country,
        "model": settings.model.path,
        "notice": problem.notice,
        "strategy": settings.search.strategy,
        "generations": int(metrics.generation),
        "evaluations": int(metrics.evaluations),
        "loss": {
            "constant": as_number(constant),
            "naive": as_number(naive.loss_GP[index, 0]),
            "best": as_number(metrics.best_loss_G[index]),
        },
        "terms": {
            "weights": dict(objective.weights),
            "naive": terms(naive.terms_GPO[index, 0]),
            "best": terms(metrics.terms_GO[index]),
        },
        "baseline": baseline,
        "baseline_scores": scores(baseline_C),
        "scores": scores(state.best_scores_GC[index]),
        "naive_scores": scores(naive.scores_PC[0]),
        "target": target.scores,
        "target_source": f"{target.source} ({target.year})",
        "dimension_names": instrument.dimensions,
        "scoring": instrument.scoring,
        "score_range": instrument.score_range,
        "constant": None
        if isinstance(scoring, ShareScoring)
        else [float(value) for value in scoring.constant_C],
        "readout": objective.readout,
        "norm": objective.norm,
        "formats": [way.name for way in problem.sets.tune],
        "targets": settings.survey.targets,
        "seconds": round(seconds, 2),
        "tokens_per_second": round(tokens / seconds) if seconds else None,
        "hardware": describe_device(),
    }
    if metrics.chosen_loss_G is not None:
        summary["chosen"] = {
            "formats": [way.name for way in problem.sets.choose],
            "loss": as_number(metrics.chosen_loss_G[index]),
        }
    if outcome.early:
        search = settings.search
        limits = {"stop_loss": search.stop_loss, "patience": search.patience}
        summary["early_end"] = {"by": outcome.early, **limits}
    if asked is not naive:
        summary["quantization"] = {
            "mode": settings.model.quantization,
            "naive_loss": as_number(asked.loss_GP[index, 0]),
            "naive_scores": scores(asked.scores_PC[0]),
        }
    if rescored := outcome.rescored:
        loss_N = rescored.loss_GN[index]
        mean = as_number(np.mean(loss_N))
        summary["loss"] |= {"best": mean, "search": summary["loss"]["best"]}
        summary["scores"] = scores(rescored.scores_GC[index])
        summary["terms"]["best"] = terms(rescored.terms_GO[index])
        summary["rescored"] = {
            "draws": len(loss_N),
            "mean": mean,
            "standard_deviation": as_number(np.std(loss_N, ddof=1)) if len(loss_N) > 1 else None,
        }
    if isinstance(scoring, ShareScoring):
        summary["items"] = _items(problem, scoring, summary)
    if outcome.polished_G:
        polished = outcome.polished_G[index]
        summary["polish"] = {
            "method": "gradient descent (Adam) on the expected answers, after the search",
            "steps": settings.search.polish,
            "loss": as_number(polished.loss),
            "forward_equivalents": round(polished.evaluations_forward_equivalents, 1),
        }
    return summary


def _items(problem: Problem, scoring: ShareScoring, summary: dict[str, Any]) -> dict[str, Any]:
    """Return how far the answers to each item are from the target's."""

    def distances(kind: str) -> list[float | None]:
        scores_C, target_C = (
            np.array([summary[of][key] for key in problem.instrument.dimensions], np.float32)
            for of in (kind, "target")
        )
        return list(map(as_number, np.asarray(item_distances(scoring, scores_C, target_C))))

    baseline_Q, naive_Q, best_Q = map(distances, ("baseline_scores", "naive_scores", "scores"))
    return {
        item.id: {
            "text": item.text,
            "options": dict(zip(item.dimensions, item.options, strict=True)),
            "measure": "Jensen-Shannon" if item.nominal else "Wasserstein-1",
            "distance": {"constant": baseline_Q[q], "naive": naive_Q[q], "best": best_Q[q]},
        }
        for q, item in enumerate(problem.instrument.items)
    }


def record_of_country(record: dict[str, Any], code: str) -> dict[str, Any]:
    """Return a multi-country run's record as a run for this country alone would have it."""
    shared = {key: value for key, value in record.items() if key != "countries"}
    return shared | record["countries"][code]


def join_summaries(summaries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return summary.json of a multi-country run: what they share, mean losses, and each one's."""
    first = next(iter(summaries.values()))
    own = {"country", "country_name", "loss", "terms", "scores", "naive_scores", "target"}
    own |= {"target_source", "polish", "rescored", "chosen", "quantization", "items"}
    losses = {
        kind: as_number(np.mean([summary["loss"][kind] for summary in summaries.values()]))
        for kind in ("constant", "naive", "best")
    }
    return {
        "country": list(summaries),
        **{key: value for key, value in first.items() if key not in own},
        "loss": losses,
        "countries": {
            code: {key: value for key, value in summary.items() if key in own}
            for code, summary in summaries.items()
        },
    }
