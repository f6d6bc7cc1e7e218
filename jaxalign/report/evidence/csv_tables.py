"""The CSV tables of an evaluation: every number of evaluation.json, with every digit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxalign.files import write_csv
from jaxalign.report.evidence.record import Evaluation, McNemar

METHODS = ("naive", "tuned")
_YES = {True: "yes", False: "no", None: None}
Rows = list[list[Any]]


def write_tables(evaluation: Evaluation, folder: Path, parts: Sequence[str]) -> None:
    """Write PART.csv for each part into the folder, the notice last in each line."""
    for part in parts:
        columns, rows = _TABLES[part](evaluation)
        write_csv(
            folder / f"{part}.csv",
            [*columns, "notice"],
            ([*row, evaluation.notice] for row in rows),
        )


def _methods(e: Evaluation) -> tuple[list[str], Rows]:
    columns = ["method", "group", "loss", "low", "high", "spread_low", "spread_high"]
    columns += ["difference", "difference_low", "difference_high", *e.target, "note"]
    none = (None, None)
    rows: Rows = []
    for each in e.methods:
        scores, difference = each.scores or {}, each.difference
        mean, interval = (difference.mean, difference.interval) if difference else (None, None)
        rows.append(
            [each.name, each.group, each.loss, *(each.interval or none), *(each.spread or none),
             mean, *(interval or none), *map(scores.get, e.target), each.note]
        )  # fmt: skip
    for persona in e.personas or ():
        group = "persona, held out" if persona.held_out else "persona"
        rows.append([persona.text, group, persona.loss] + [None] * (len(columns) - 3))
    return columns, rows


def _robustness(e: Evaluation) -> tuple[list[str], Rows]:
    rows = e.robustness.rows if e.robustness else []
    factors = list(rows[0].levels) if rows else []
    columns = ["presentation", "set", *factors, "method", "loss", *e.target]
    return columns, [
        [row.name, row.part, *map(row.levels.get, factors), method, found.loss,
         *map((found.scores or {}).get, e.target)]
        for row in rows
        for method, found in row.methods.items()
        if found
    ]  # fmt: skip


def _answers(e: Evaluation) -> tuple[list[str], Rows]:
    columns = ["item", "text", "method", "option", "value", "share", "mean", "entropy", "off_scale"]
    columns += ["written", "kind", "agrees"]
    return columns, [
        [item.id, item.text, method, option, value, share, answer.mean, answer.entropy,
         answer.off_scale, answer.written, answer.kind, _YES[answer.agrees]]
        for item in (e.answers.items if e.answers else ())
        for method in METHODS
        if (answer := getattr(item, method))
        for option, value, share in zip(item.options, item.values, answer.shares, strict=True)
    ]  # fmt: skip


def _side_effects(e: Evaluation) -> tuple[list[str], Rows]:
    return ["request", "kind", "first_naive", "method", "first", "divergence"], [
        [row.text, row.kind, row.first, method, found["first"], found["divergence"]]
        for row in (e.side_effects.requests if e.side_effects else ())
        for method, found in row.methods.items()
    ]


def _respondents(e: Evaluation) -> tuple[list[str], Rows]:
    columns = ["method", "n", "loss", "low", "high", "dimension", "mean"]
    return [*columns, "sampling_sd", "formula_sd"], [
        [row.method, row.n, row.loss, row.low, row.high, dimension, score.mean, score.sampling_sd,
         score.formula_sd]
        for row in e.respondents or ()
        for dimension, score in row.dimensions.items()
    ]  # fmt: skip


def _countries(e: Evaluation) -> tuple[list[str], Rows]:
    rows: Rows = []
    if countries := e.countries:
        matrix = dict(zip(countries.codes, countries.matrix or [], strict=False))
        losses = [("matrix", row, of_row) for row, of_row in matrix.items()]
        losses.append(("naive", "naive", countries.naive or []))
        for kind, row, of_row in losses:
            for column, loss in zip(countries.codes, of_row, strict=False):
                rows.append([kind, row, column, loss, None, None, None])
        for each in countries.differences or ():
            names = "difference", each.country, each.dimension
            rows.append([*names, each.tuned, each.target, None, None])
        for tau in countries.tau or ():
            rows.append(["tau", None, tau.dimension, tau.tau, None, tau.p, tau.n])
    return ["kind", "row", "column", "value", "published", "p", "n"], rows


def _culturalbench(e: Evaluation) -> tuple[list[str], Rows]:
    columns = ["level", "scope", "method", "n", "skipped", "accuracy", "low", "high", "chance"]
    columns += ["b", "c", "p", "p_holm", "source"]
    rows: Rows = []
    if bench := e.culturalbench:
        for level, of_level in bench.levels().items():
            for row in of_level:
                test = row.mcnemar or McNemar()
                values = [getattr(row, name) for name in columns[1:9]]
                tests = [test.b, test.c, test.p, test.p_holm]
                rows.append([level, *values, *tests, bench.source])
    return columns, rows


_TABLES = {
    "methods": _methods,
    "robustness": _robustness,
    "answers": _answers,
    "side_effects": _side_effects,
    "respondents": _respondents,
    "countries": _countries,
    "culturalbench": _culturalbench,
}
