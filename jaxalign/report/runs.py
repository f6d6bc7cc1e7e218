"""The table of runs that jaxalign.status prints."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxalign.report.numbers import MISSING, format_loss, format_percent, format_seconds
from jaxalign.report.tables import WIDEST, new_table, table_width
from jaxalign.report.terminal import print_notice

_STYLES = {"running": "green", "stalled": "yellow", "failed": "red", "dead": "red"}
_WORDS = ("state", "country", "model", "strategy")
_LEFT_OUT = ("strategy", "model", "country", "last sign")  # in this order, if there is no room


def print_runs(runs: list[dict[str, Any]], *, console: Console | None = None) -> None:
    """Print runs, one line each, with as many columns as there is room for.

    Args:
        runs: as jaxalign.status describes them.
        console: where to print; standard output by default, whole lines if it is no terminal.
    """
    if console is None:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = WIDEST
    rows = [_cells(run) for run in runs]
    for count in range(len(_LEFT_OUT) + 1):
        table = _table(rows, _LEFT_OUT[:count])
        if table_width(console, table) < console.width:
            break
    console.print(table)
    for notice in dict.fromkeys(run["notice"] for run in runs):
        print_notice(console, notice)


def _cells(run: dict[str, Any]) -> dict[str, str | Text]:
    share, rate = run["share_of_naive"], run["candidates_per_second"]
    return {
        "run": run["workdir"],
        "state": Text(run["state"], style=_STYLES.get(run["state"], "")),
        **{name: _text(run[name]) for name in ("country", "model", "strategy")},
        "generation": f"{_text(run['generation'])}/{_text(run['generations'])}",
        "best": Text(format_loss(run["best_loss"]), style="bold"),
        "of naive": format_percent(share, 0),
        "cand./s": MISSING if rate is None else f"{rate:,.1f}",
        "left": format_seconds(run["seconds_left"]),
        "last sign": MISSING if run["age"] is None else f"{format_seconds(run['age'])} ago",
    }


def _table(rows: list[dict[str, str | Text]], left_out: tuple[str, ...]) -> Table:
    names = [name for name in rows[0] if name not in left_out]
    table = new_table(None, *names, words=_WORDS)
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.no_wrap = True
    for cells in rows:
        table.add_row(*(cells[name] for name in names))
    return table


def _text(value: Any) -> str:
    """Return a cell; of a path its last part."""
    return MISSING if value is None else str(value).rstrip("/").rpartition("/")[2]
