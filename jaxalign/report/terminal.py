"""What is printed before and after a run: settings, scores against the target, losses, files."""

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxalign.report.numbers import distance, format_loss, format_score


def print_header(
    rows: dict[str, str], notice: str | None = None, *, console: Console | None = None
) -> None:
    """Prints what is about to run: one line per row, and the notice where there is one."""
    console = console or Console(highlight=False)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(Text(name), Text(str(value)))
    print_notice(console, notice)
    console.print(table)
    console.print()


def print_result(
    summary: dict[str, Any],
    files: list[tuple[str, str]],
    notice: str | None = None,
    *,
    console: Console | None = None,
) -> None:
    """Prints the scores against the target, the losses, and the files of the workdir.

    Args:
        summary: the content of summary.json.
        files: path and one line of explanation each.
        notice: said above the scores, for example of a model without scientific meaning.
        console: where to print; standard output by default.
    """
    console = console or Console(highlight=False)
    console.print()
    console.print(_score_table(summary))
    console.print(_loss_table(summary))
    print_notice(console, notice)
    _print_files(console, files)


def print_results(
    summaries: dict[str, dict[str, Any]],
    files: list[tuple[str, str]],
    notice: str | None = None,
    *,
    console: Console | None = None,
) -> None:
    """Prints the losses of a run for several countries, one line each, and the files.

    Args:
        summaries: the content of each country's summary.json.
        files: path and one line of explanation each.
        notice: said below the losses.
        console: where to print; standard output by default.
    """
    console = console or Console(highlight=False)
    table = _table("Loss", "country", "constant answer", "naive", "tuned", "share of naive")
    for summary in summaries.values():
        loss = summary["loss"]
        tuned = Text(format_loss(loss["best"]), style="bold")
        share = f"{loss['best'] / loss['naive']:.0%}" if loss["best"] is not None else ""
        losses = format_loss(loss["constant"]), format_loss(loss["naive"])
        table.add_row(summary.get("country_name") or summary["country"], *losses, tuned, share)
    console.print()
    console.print(table)
    print_notice(console, notice)
    _print_files(console, files)


def _print_files(console: Console, files: list[tuple[str, str]]) -> None:
    """Prints paths whole, to be copied: beside their lines, or above where that is too wide."""
    width = max((len(path) for path, _ in files), default=0)
    fits = all(width + 2 + len(line) <= console.width for _, line in files)
    for path, line in files:
        text = Text(path.ljust(width) + "  " if fits else path + "\n    ")
        console.print(text.append(line, style="dim"), soft_wrap=True)


def print_notice(console: Console, notice: str | None) -> None:
    """Prints the notice that stands beside every result of a model without scientific meaning."""
    if notice:
        console.print(Text(f"Note: {notice}", style="bold yellow"))
        console.print()


def _score_table(summary: dict[str, Any]) -> Table:
    country = summary.get("country_name") or summary["country"]
    names = summary.get("dimension_names") or {}
    naive = summary.get("naive_scores") or {}
    table = _table(f"Scores: {country}", "dimension", "target", "naive", "tuned", "distance tuned")
    for key, target in summary["target"].items():
        tuned = summary["scores"].get(key)
        table.add_row(
            Text(f"{key}  {names[key]}" if key in names else key),
            format_score(target),
            format_score(naive.get(key)),
            Text(format_score(tuned), style="bold"),
            format_score(distance(tuned, target)),
        )
    return table


def _loss_table(summary: dict[str, Any]) -> Table:
    loss = summary["loss"]
    norm = str(summary.get("norm", "")).upper()
    table = _table(f"Loss ({norm})" if norm else "Loss", "", "loss", "share of naive")
    rows = {"constant answer": "constant", "naive": "naive", "tuned": "best"}
    for name, key in rows.items():
        value, naive = loss.get(key), loss.get("naive")
        share = f"{value / naive:.0%}" if value is not None and naive else ""
        style = "bold" if key == "best" else ""
        table.add_row(Text(name, style=style), Text(format_loss(value), style=style), share)
    if polished := summary.get("polish"):
        share = f"{polished['loss'] / loss['naive']:.0%}" if loss.get("naive") else ""
        table.add_row("then polished by gradient", format_loss(polished["loss"]), share)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table
