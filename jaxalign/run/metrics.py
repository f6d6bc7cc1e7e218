"""Lines of metrics.jsonl: what one generation did."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxalign.search.state import Metrics


def as_number(value: Any) -> float | None:
    """Return the shortest decimal that reads back as the same float32; None if it is not finite."""
    return float(str(np.float32(value))) if math.isfinite(value) else None


def make_record(
    countries: Sequence[str],
    terms: Sequence[str],
    metrics: Metrics,
    seconds: float | None = None,
    tokens: int | None = None,
) -> dict[str, Any]:
    """One line of metrics.jsonl. Infinite means and unknown counts become null.

    A multi-country run has each country under `countries`, and their means outside of it.

    Args:
      countries: codes of the G countries.
      terms: names of the O objectives.
      metrics: of the generation, on the host.
      seconds: that the generation took.
      tokens: that went through the model.
    """
    of_each: dict[str, dict[str, Any]] = {
        code: {
            "best_loss": as_number(metrics.best_loss_G[place]),
            "generation_best": as_number(metrics.generation_best_G[place]),
            "generation_mean": as_number(metrics.generation_mean_G[place]),
            "accepted": _count(metrics.accepted_G[place]),
            "prompt_norm": as_number(metrics.prompt_norm_G[place]),
            "terms": dict(zip(terms, map(as_number, metrics.terms_GO[place]), strict=True)),
            **_chosen(metrics, place),
        }
        for place, code in enumerate(countries)
    }
    together = of_each[countries[0]]
    if len(countries) > 1:
        together = {
            "best_loss": as_number(np.mean(metrics.best_loss_G)),
            "generation_best": as_number(np.mean(metrics.generation_best_G)),
            "generation_mean": as_number(np.mean(metrics.generation_mean_G)),
            "accepted": _count(np.sum(metrics.accepted_G)),
            "prompt_norm": as_number(np.mean(metrics.prompt_norm_G)),
            **_chosen(metrics, ...),
            "countries": of_each,
        }
    return {
        "generation": int(metrics.generation),
        "evaluations": int(metrics.evaluations),
        "failed": int(metrics.failed),
        **together,
        "seconds": None if seconds is None else round(seconds, 4),
        "tokens_per_second": round(tokens / seconds) if seconds and tokens else None,
    }


def _chosen(metrics: Metrics, place: Any) -> dict[str, Any]:
    """Return the loss in the presentations to choose by, where there are any."""
    if metrics.chosen_loss_G is None:
        return {}
    return {"chosen_loss": as_number(np.mean(metrics.chosen_loss_G[place]))}


def _count(number: Any) -> int | None:
    return int(number) if number >= 0 else None
