"""The table of a comparison, for a Markdown file, for a terminal and as CSV."""

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from jaxalign.files import write_csv
from jaxalign.report.comparison.statistics import Quartiles, Reach, Summary
from jaxalign.report.numbers import MISSING, format_loss, format_percent
from jaxalign.report.tables import markdown_table, new_table

_SUMMARY_COLUMNS = (
    "rank", "method", "kind", "country", "runs", "loss_q25", "loss_median", "loss_q75",
    "share_of_naive", "half_evaluations", "half_reached", "tenth_evaluations", "tenth_reached",
    "area", "forward_equivalents",
)  # fmt: skip


def render_markdown(summaries: Sequence[Summary], budget: int) -> str:
    """Return a table for GitHub: one line per method, final losses as median (quartiles).

    `[4/6]` behind the evaluations to a goal says how many runs reach it, if not all do.
    """
    overall, countries, on_country = _by_method(summaries)
    rows = [["rank", "method", "kind", *countries, "share of naive", "to 1/2", "to 1/10", "area",
             "forward passes", "runs"]]  # fmt: skip
    for line in overall:
        parts = [on_country.get((line.method, country)) for country in countries]
        goals = [_reach(goal, budget) + _count(goal, line.runs) for goal in (line.half, line.tenth)]
        rows.append(
            [str(line.rank), line.method, line.kind,
             *(_quartiles(part.loss) if part else MISSING for part in parts),
             format_percent(line.share), *goals, f"{line.area:.3f}",
             f"{line.forward_equivalents:,.0f}", str(line.runs)]
        )  # fmt: skip
    return markdown_table(rows, words=("method", "kind"))


def print_comparison(
    summaries: Sequence[Summary], budget: int, *, console: Console | None = None
) -> None:
    """Print the medians of the same table, and which methods take more forward passes."""
    console = console or Console(highlight=False)
    overall, countries, on_country = _by_method(summaries)
    columns = ["", "method", *countries, "of naive", "to 1/2", "to 1/10", "runs"]
    title = f"Median loss after {budget:,} evaluations"
    table = new_table(title, *columns, words=("method",))
    table.padding = (0, 1, 0, 0)  # narrow, so that four countries fit into 80 columns
    for column in table.columns:
        column.no_wrap = True
    rank, method, *_ = table.columns
    rank.justify = "right"
    method.no_wrap, method.overflow, method.min_width = False, "fold", 12
    for line in overall:
        parts = [on_country.get((line.method, country)) for country in countries]
        cells = [str(line.rank), line.method]
        cells += [format_loss(part.loss.median) if part else MISSING for part in parts]
        cells += [format_percent(line.share), _reach(line.half, budget), _reach(line.tenth, budget)]
        table.add_row(*map(Text, (*cells, str(line.runs))))
    console.print(table)
    for line in overall:
        if line.forward_equivalents > budget:
            cost = f"{line.forward_equivalents:,.0f} forward passes a run, not {budget:,}"
            console.print(Text(f"{line.method}: cost {cost}"))


def write_summary_csv(path: Path, summaries: Sequence[Summary]) -> None:
    """Write every number of the summaries, unrounded, one line per method and country.

    The country of a line over all countries is `all`. An empty cell means that half of the runs,
    or more, do not reach the goal; `half_reached` and `tenth_reached` count those that do.

    Raises:
      UserError: the file cannot be written.
    """
    rows = []
    for line in summaries:
        half, tenth = (
            goal.evaluations if math.isfinite(goal.evaluations) else None
            for goal in (line.half, line.tenth)
        )
        rows.append(
            (line.rank, line.method, line.kind, line.country or "all", line.runs, line.loss.low,
             line.loss.median, line.loss.high, line.share, half, line.half.runs, tenth,
             line.tenth.runs, line.area, line.forward_equivalents)
        )  # fmt: skip
    write_csv(path, _SUMMARY_COLUMNS, rows)


def _by_method(
    summaries: Sequence[Summary],
) -> tuple[list[Summary], list[str], dict[tuple[str, str], Summary]]:
    """Return the lines over all countries, the countries, and the lines on each of them."""
    overall = [line for line in summaries if line.country is None]
    on_country = {(line.method, line.country): line for line in summaries if line.country}
    return overall, list(dict.fromkeys(country for _, country in on_country)), on_country


def _quartiles(loss: Quartiles) -> str:
    if math.isinf(loss.median):
        return MISSING
    return f"{format_loss(loss.median)} ({format_loss(loss.low)} to {format_loss(loss.high)})"


def _reach(goal: Reach, budget: int) -> str:
    return f"{goal.evaluations:,.0f}" if math.isfinite(goal.evaluations) else f">{budget:,}"


def _count(goal: Reach, runs: int) -> str:
    return "" if goal.runs == runs else f" [{goal.runs}/{runs}]"
