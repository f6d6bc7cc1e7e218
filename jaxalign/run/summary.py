"""The content of summary.json: losses, scores, objectives, cost."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import config_dict

from jaxalign.engine import Engine, make_objective
from jaxalign.evolve import RunState
from jaxalign.problem import Problem
from jaxalign.run.provenance import as_number, describe_device
from jaxalign.run.refine import Rescored
from jaxalign.survey import (
    ShareScoring,
    distance_to_target,
    item_distances,
    knowing_nothing,
)


def tell_rescored(
    summary: dict[str, Any], terms: Sequence[str], rescored: Rescored, place: int
) -> None:
    """Replaces what the search saw of the best prompt by what it is worth when asked again."""
    losses_N = rescored.loss_GN[place]
    summary["loss"]["search"] = summary["loss"]["best"]
    summary["loss"]["best"] = as_number(np.mean(losses_N))
    summary["scores"] = dict(
        zip(summary["scores"], map(as_number, rescored.scores_GC[place]), strict=True)
    )
    summary["terms"]["best"] = dict(
        zip(terms, map(as_number, rescored.terms_GO[place]), strict=True)
    )
    summary["rescored"] = {
        "draws": len(losses_N),
        "mean": as_number(np.mean(losses_N)),
        "standard_deviation": as_number(np.std(losses_N, ddof=1)) if len(losses_N) > 1 else None,
    }


def tell_items(summary: dict[str, Any], problem: Problem) -> None:
    """Tells how far the answers to each item are from the target's, where these are compared."""
    scoring, instrument = problem.scoring, problem.instrument
    if not isinstance(scoring, ShareScoring):
        return

    def distances(kind: str) -> list[float | None]:
        scores_C, target_C = (
            np.array([summary[of][key] for key in instrument.dimensions], np.float32)
            for of in (kind, "target")
        )
        return list(map(as_number, np.asarray(item_distances(scoring, scores_C, target_C))))

    baseline_Q, naive_Q, best_Q = map(distances, ("baseline_scores", "naive_scores", "scores"))
    summary["items"] = {
        item.id: {
            "text": item.text,
            "options": dict(zip(item.dimensions, item.options, strict=True)),
            "measure": "Jensen-Shannon" if item.nominal else "Wasserstein-1",
            "distance": {"constant": baseline_Q[q], "naive": naive_Q[q], "best": best_Q[q]},
        }
        for q, item in enumerate(instrument.items)
    }


def of_country(record: dict[str, Any], code: str) -> dict[str, Any]:
    """A record as a run for this country alone would have it, at the cost of the whole."""
    shared = {key: value for key, value in record.items() if key != "countries"}
    return shared | record["countries"][code]


def together(summaries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """summary.json of a run for several countries: what they share, means, and each loss."""
    first = next(iter(summaries.values()))
    own = {"country", "country_name", "loss", "terms", "scores", "naive_scores", "target"}
    own |= {"target_source", "polish", "rescored", "quantization", "items"}
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


def summarise(
    config: config_dict.ConfigDict,
    problem: Problem,
    engine: Engine,
    state: RunState,
    records: list[dict[str, Any]],
    place: int,
) -> dict[str, Any]:
    """What a run found for one country, by its place among the targets."""
    keys, target = list(problem.instrument.dimensions), problem.targets[place]
    metrics, scoring = state.metrics, problem.scoring
    baseline, baseline_C = knowing_nothing(problem.instrument, scoring)
    target_GC = engine.task.target_GC[place : place + 1]
    (constant,) = distance_to_target(scoring, baseline_C, target_GC, config.objective.norm)
    timed = [record for record in records if record["seconds"]]
    seconds = sum(record["seconds"] for record in timed)
    tokens = sum(record["seconds"] * (record["tokens_per_second"] or 0) for record in timed)
    terms = problem.task.terms
    naive = engine.naive if engine.full_naive is None else engine.full_naive

    def scores(scores_C: Any) -> dict[str, float | None]:
        return dict(zip(keys, map(as_number, scores_C), strict=True))

    summary = {
        "country": target.code,
        "country_name": target.country,
        "model": config.model.path,
        "notice": problem.notice,
        "strategy": config.search.strategy,
        "generations": int(metrics.generation),
        "evaluations": int(metrics.evaluations),
        "loss": {
            "constant": as_number(constant),
            "naive": as_number(naive.loss_GP[place, 0]),
            "best": as_number(metrics.best_loss_G[place]),
        },
        "terms": {
            "weights": dict(make_objective(config, 1).weights),
            "naive": dict(zip(terms, map(as_number, naive.terms_GPO[place, 0]), strict=True)),
            "best": dict(zip(terms, map(as_number, metrics.terms_GO[place]), strict=True)),
        },
        "baseline": baseline,
        "baseline_scores": scores(baseline_C),
        "scores": scores(state.best_scores_GC[place]),
        "naive_scores": scores(naive.scores_PC[0]),
        "target": target.scores,
        "target_source": f"{target.source} ({target.year})",
        "dimension_names": problem.instrument.dimensions,
        "scoring": problem.instrument.scoring,
        "score_range": problem.instrument.score_range,
        "constant": None
        if isinstance(scoring, ShareScoring)
        else [float(value) for value in scoring.constant_C],
        "readout": config.objective.readout,
        "norm": config.objective.norm,
        "formats": [shown.name for shown in problem.questions.formats],
        "targets": config.survey.targets,
        "seconds": round(seconds, 2),
        "tokens_per_second": round(tokens / seconds) if seconds else None,
        "hardware": describe_device(),
    }
    if engine.full_naive is not None:
        summary["quantization"] = {
            "mode": config.model.quantization,
            "naive_loss": as_number(engine.naive.loss_GP[place, 0]),
            "naive_scores": scores(engine.naive.scores_PC[0]),
        }
    return summary
