"""The table of runs that jaxalign.status prints."""

from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from jaxalign.report.numbers import MISSING, format_loss, format_seconds
from jaxalign.report.terminal import print_notice

_WIDE = 1000  # columns where another program reads the table
_STYLES = {"running": "green", "stalled": "yellow", "failed": "red", "dead": "red"}
_LEFT_OUT = ("strategy", "model", "country", "last sign")  # where there is no room, in this order


def print_runs(runs: list[dict[str, Any]], *, console: Console | None = None) -> None:
    """Prints runs, one line each, with as many columns as there is room for.

    Args:
        runs: as jaxalign.status describes them.
        console: where to print; standard output by default, whole lines where it is no terminal.
    """
    if console is None:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = _WIDE
    rows = [_cells(run) for run in runs]
    for count in range(len(_LEFT_OUT) + 1):
        table = _table(rows, _LEFT_OUT[:count])
        if Measurement.get(console, console.options, table).maximum < console.width:
            break
    console.print(table)
    for notice in dict.fromkeys(run["notice"] for run in runs):
        print_notice(console, notice)


def _cells(run: dict[str, Any]) -> dict[str, str | Text]:
    share, rate = run["share_of_naive"], run["candidates_per_second"]
    return {
        "run": run["workdir"],
        "state": Text(run["state"], style=_STYLES.get(run["state"], "")),
        "country": _text(run["country"]),
        "model": _text(run["model"]),
        "strategy": _text(run["strategy"]),
        "generation": f"{_text(run['generation'])}/{_text(run['generations'])}",
        "best": Text(format_loss(run["best_loss"]), style="bold"),
        "of naive": MISSING if share is None else f"{share:.0%}",
        "cand./s": MISSING if rate is None else f"{rate:,.1f}",
        "left": format_seconds(run["seconds_left"]),
        "last sign": MISSING if run["age"] is None else f"{format_seconds(run['age'])} ago",
    }


def _table(rows: list[dict[str, str | Text]], left_out: tuple[str, ...]) -> Table:
    table, words = Table(box=box.SIMPLE_HEAD), ("state", "country", "model", "strategy")
    names = [name for name in rows[0] if name not in left_out]
    table.add_column(names[0], overflow="fold")
    for name in names[1:]:
        table.add_column(name, justify="left" if name in words else "right", no_wrap=True)
    for cells in rows:
        table.add_row(*(cells[name] for name in names))
    return table


def _text(value: Any) -> str:
    """A cell; of a path its last part."""
    return MISSING if value is None else str(value).rstrip("/").rpartition("/")[2]
