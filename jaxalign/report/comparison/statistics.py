"""Statistics of histories: final losses, evaluations to a goal, area under the curve, ranks.

The best loss is a step function of evaluations: each value holds until the next point, the last one
to the end. Nothing after the budget counts.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np

from jaxalign.report.comparison.histories import Run

_HUGE = 1e300  # in place of inf in interpolation


@dataclasses.dataclass(frozen=True)
class Quartiles:
    """Quartiles over runs; a run in which every candidate failed counts as inf."""

    low: float
    median: float
    high: float


@dataclasses.dataclass(frozen=True)
class Reach:
    """How soon a goal was reached.

    Attributes:
      evaluations: the median over runs, where a run that never reaches the goal counts as inf. Inf
        unless more than half of the runs reach it.
      runs: how many reach it.
    """

    evaluations: float
    runs: int


@dataclasses.dataclass(frozen=True)
class Summary:
    """One method on one country, or on all of them.

    Attributes:
      rank: of the method, from 1 on, by `share` over all countries and seeds; ties share a rank.
      country: None for all.
      runs: number of runs summarised.
      loss: final loss.
      share: median of final loss / naive loss.
      half, tenth: evaluations until the loss is at most that part of the naive loss.
      area: median of the mean best loss over the evaluations from 0 to the budget / naive loss,
        with the naive loss until there is a finite one.
      forward_equivalents: median cost of a run.
    """

    rank: int
    method: str
    kind: str
    country: str | None
    runs: int
    loss: Quartiles
    share: float
    half: Reach
    tenth: Reach
    area: float
    forward_equivalents: float


def summarise(runs: Sequence[Run], budget: int) -> list[Summary]:
    """Summarise each method over all countries, then on each, the best method first.

    Countries come in the order of their first run. Only those that a method ran on are listed.

    Args:
      runs: of `read_runs`.
      budget: evaluations that each run was given.
    """
    countries = list(dict.fromkeys(run.country for run in runs))
    methods = dict.fromkeys(run.method for run in runs)
    of_method = {name: [run for run in runs if run.method == name] for name in methods}
    shares = {name: _share(of_method[name], budget) for name in methods}
    summaries = []
    for name in sorted(methods, key=lambda name: (shares[name], name)):
        rank = 1 + sum(share < shares[name] for share in shares.values())
        summaries.append(_summary(of_method[name], budget, rank, None))
        for country in countries:
            if part := [run for run in of_method[name] if run.country == country]:
                summaries.append(_summary(part, budget, rank, country))
    return summaries


def loss_at(run: Run, evaluations: float) -> float:
    """Return the best loss after this many evaluations; inf before the first point."""
    losses = [loss for spent, loss in run.points if spent <= evaluations]
    return losses[-1] if losses else math.inf


def quartiles(values: Iterable[float]) -> Quartiles:
    """Return the quartiles by linear interpolation; between a finite value and inf lies inf."""
    finite = np.minimum(list(values), _HUGE)  # NumPy makes NaN of inf
    found = np.quantile(finite, (0.25, 0.5, 0.75))
    return Quartiles(*np.where(found > _HUGE / 1e9, math.inf, found).tolist())


def reached(run: Run, loss: float, budget: int) -> float:
    """Return the evaluations at the first point with at most this loss; inf if over budget."""
    return next(
        (float(spent) for spent, best in run.points if best <= loss and spent <= budget), math.inf
    )


def area(run: Run, budget: int) -> float:
    """Return the mean over the evaluations 0 to budget of best loss / naive loss."""
    total, start, value = 0.0, 0, run.naive_loss
    for spent, loss in run.points:
        if spent >= budget:
            break
        total += value * (spent - start)
        start, value = spent, loss if math.isfinite(loss) else run.naive_loss
    return (total + value * (budget - start)) / budget / run.naive_loss


def _share(runs: Sequence[Run], budget: int) -> float:
    return quartiles(loss_at(run, budget) / run.naive_loss for run in runs).median


def _reach(runs: Sequence[Run], part: float, budget: int) -> Reach:
    evaluations = [reached(run, part * run.naive_loss, budget) for run in runs]
    return Reach(quartiles(evaluations).median, sum(map(math.isfinite, evaluations)))


def _summary(runs: Sequence[Run], budget: int, rank: int, country: str | None) -> Summary:
    return Summary(
        rank=rank,
        method=runs[0].method,
        kind=runs[0].kind,
        country=country,
        runs=len(runs),
        loss=quartiles(loss_at(run, budget) for run in runs),
        share=_share(runs, budget),
        half=_reach(runs, 0.5, budget),
        tenth=_reach(runs, 0.1, budget),
        area=quartiles(area(run, budget) for run in runs).median,
        forward_equivalents=quartiles(run.forward_equivalents for run in runs).median,
    )
