"""Tables for the terminal and for Markdown."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

WIDEST = 1000  # columns of a table that another program reads


def new_table(title: str | None, *columns: str, words: Sequence[str] = ()) -> Table:
    """Return an empty table: names at the left, numbers flush right.

    Args:
        title: printed above it, None for nothing.
        columns: heads. The first holds names.
        words: other columns that hold words.
    """
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in columns:
        left = column == columns[0] or column in words
        table.add_column(column, justify="left" if left else "right")
    return table


def table_width(console: Console, table: Table) -> int:
    """Return how many columns a table needs to show every cell whole."""
    return Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum


def markdown_table(rows: Sequence[Sequence[str]], words: Sequence[str] = ()) -> str:
    """Return a Markdown table.

    Args:
        rows: cells, the head first.
        words: heads of the columns of words, flush left; the others hold numbers.
    """
    head, *rest = rows
    rule = [":---" if column in words else "---:" for column in head]
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in (head, rule, *rest))
    return "".join(f"| {' | '.join(row)} |\n" for row in escaped)
