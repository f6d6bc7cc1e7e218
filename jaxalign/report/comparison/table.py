"""The table of a comparison, for a Markdown file, for a terminal and as CSV."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxalign.files import write_file
from jaxalign.report.comparison.statistics import Quartiles, Reach, Summary
from jaxalign.report.numbers import MISSING, format_loss

_SUMMARY_COLUMNS = (
    "rank",
    "method",
    "kind",
    "country",
    "runs",
    "loss_q25",
    "loss_median",
    "loss_q75",
    "share_of_naive",
    "half_evaluations",
    "half_reached",
    "tenth_evaluations",
    "tenth_reached",
    "area",
    "forward_equivalents",
)


def render_markdown(summaries: Sequence[Summary], budget: int) -> str:
    """Returns a table for GitHub: one line per method, final losses as median (quartiles).

    `[4/6]` behind the evaluations to a goal says how many runs reach it, where not all do.
    """
    overall, countries, on_country = _by_method(summaries)
    header = ["rank", "method", "kind", *countries, "share of naive", "to 1/2", "to 1/10", "area",
              "forward passes", "runs"]  # fmt: skip
    rule = [":---" if name in ("method", "kind") else "---:" for name in header]
    lines = [header, rule]
    for line in overall:
        parts = [on_country.get((line.method, country)) for country in countries]
        lines.append(
            [str(line.rank), line.method, line.kind]
            + [_quartiles(part.loss) if part else MISSING for part in parts]
            + [_share(line), *(_reach(reach, budget) + _count(reach, line.runs)
                               for reach in (line.half, line.tenth))]
            + [f"{line.area:.3f}", f"{line.forward_equivalents:,.0f}", str(line.runs)]
        )  # fmt: skip
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def print_comparison(
    summaries: Sequence[Summary], budget: int, *, console: Console | None = None
) -> None:
    """Prints the medians of the same table, and which methods take more forward passes."""
    console = console or Console(highlight=False)
    overall, countries, on_country = _by_method(summaries)
    table = Table(
        title=f"Median loss after {budget:,} evaluations",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # narrow, so that four countries fit into 80 columns
    )
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("method", overflow="fold", min_width=12)
    for name in (*countries, "of naive", "to 1/2", "to 1/10", "runs"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in overall:
        parts = [on_country.get((line.method, country)) for country in countries]
        cells = [str(line.rank), line.method]
        cells += [format_loss(part.loss.median) if part else MISSING for part in parts]
        cells += [_share(line), _reach(line.half, budget), _reach(line.tenth, budget)]
        table.add_row(*map(Text, (*cells, str(line.runs))))
    console.print(table)
    for line in overall:
        if line.forward_equivalents > budget:
            cost = f"{line.forward_equivalents:,.0f} forward passes a run, not {budget:,}"
            console.print(Text(f"{line.method}: cost {cost}"))


def write_summary_csv(path: Path, summaries: Sequence[Summary]) -> None:
    """Writes every number of the summaries, unrounded, one line per method and country.

    The country of a line over all countries is `all`. An empty cell means that half of the runs,
    or more, do not reach the goal; `half_reached` and `tenth_reached` count those that do.

    Raises:
      UserError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_SUMMARY_COLUMNS)
    for line in summaries:
        half, tenth = (
            reach.evaluations if math.isfinite(reach.evaluations) else ""
            for reach in (line.half, line.tenth)
        )
        writer.writerow(
            (line.rank, line.method, line.kind, line.country or "all", line.runs, line.loss.low,
             line.loss.median, line.loss.high, line.share, half, line.half.runs, tenth,
             line.tenth.runs, line.area, line.forward_equivalents)
        )  # fmt: skip
    write_file(path, text.getvalue().encode())


def _by_method(
    summaries: Sequence[Summary],
) -> tuple[list[Summary], list[str], dict[tuple[str, str], Summary]]:
    """Returns the lines over all countries, the countries, and the lines on each of them."""
    overall = [line for line in summaries if line.country is None]
    on_country = {(line.method, line.country): line for line in summaries if line.country}
    return overall, list(dict.fromkeys(country for _, country in on_country)), on_country


def _quartiles(loss: Quartiles) -> str:
    if math.isinf(loss.median):
        return MISSING
    return f"{format_loss(loss.median)} ({format_loss(loss.low)} to {format_loss(loss.high)})"


def _share(line: Summary) -> str:
    return f"{line.share:.1%}" if math.isfinite(line.share) else MISSING


def _reach(reach: Reach, budget: int) -> str:
    return f"{reach.evaluations:,.0f}" if math.isfinite(reach.evaluations) else f">{budget:,}"


def _count(reach: Reach, runs: int) -> str:
    return "" if reach.runs == runs else f" [{reach.runs}/{runs}]"
