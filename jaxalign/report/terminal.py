"""What is printed before and after a run: settings, scores against the target, losses, files."""

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxalign.report.answers import read_answers
from jaxalign.report.numbers import (
    baseline_name,
    distance,
    format_loss,
    format_score,
    format_shares,
    loss_unit,
    score_digits,
)


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
    console.print(_answer_table(summary) if summary.get("items") else _score_table(summary))
    console.print(_loss_table(summary))
    print_notice(console, notice)
    print_files(console, files)


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
    baseline = baseline_name(next(iter(summaries.values())))
    table = new_table("Loss", "country", baseline, "naive", "tuned", "share of naive")
    for summary in summaries.values():
        loss = summary["loss"]
        tuned = Text(format_loss(loss["best"]), style="bold")
        share = f"{loss['best'] / loss['naive']:.0%}" if loss["best"] is not None else ""
        losses = format_loss(loss["constant"]), format_loss(loss["naive"])
        table.add_row(summary.get("country_name") or summary["country"], *losses, tuned, share)
    console.print()
    console.print(table)
    print_notice(console, notice)
    print_files(console, files)


def print_files(console: Console, files: list[tuple[str, str]]) -> None:
    """Prints paths whole, to be copied: beside their lines, or above where that is too wide."""
    width = max((len(path) for path, _ in files), default=0)
    fits = all(width + 2 + len(line) <= console.width for _, line in files)
    for path, line in files:
        text = Text(path.ljust(width) + "  " if fits else path + "\n    ")
        console.print(text.append(line, style="dim"), soft_wrap=True)


def print_notice(console: Console, notice: str | None) -> None:
    """Prints the notice, where there is one."""
    if notice:
        console.print(Text(f"Note: {notice}", style="bold yellow"))
        console.print()


def _score_table(summary: dict[str, Any]) -> Table:
    country = summary.get("country_name") or summary["country"]
    names = summary.get("dimension_names") or {}
    naive = summary.get("naive_scores") or {}
    digits = score_digits(summary)
    table = new_table(
        f"Scores: {country}", "dimension", "target", "naive", "tuned", "distance tuned"
    )
    for key, target in summary["target"].items():
        tuned = summary["scores"].get(key)
        table.add_row(
            Text(f"{key}  {names[key]}" if key in names else key),
            format_score(target, digits),
            format_score(naive.get(key), digits),
            Text(format_score(tuned, digits), style="bold"),
            format_score(distance(tuned, target), digits),
        )
    return table


def _answer_table(summary: dict[str, Any]) -> Table:
    """The shares of the options of each item, and how far the tuned ones are from the target's."""
    country = summary.get("country_name") or summary["country"]
    title = f"Answers in percent: {country}"
    table = new_table(title, "item", "target", "naive", "tuned", "distance tuned")
    for item in read_answers(summary):
        target, naive, tuned = map(format_shares, item.shares.values())
        far = format_score(item.distance["best"])
        table.add_row(Text(item.id), target, naive, Text(tuned, style="bold"), far)
    return table


def _loss_table(summary: dict[str, Any]) -> Table:
    loss = summary["loss"]
    unit = loss_unit(summary)
    table = new_table(f"Loss ({unit})" if unit else "Loss", "", "loss", "share of naive")
    rows = {baseline_name(summary): "constant", "naive": "naive", "tuned": "best"}
    for name, key in rows.items():
        value, naive = loss.get(key), loss.get("naive")
        share = f"{value / naive:.0%}" if value is not None and naive else ""
        style = "bold" if key == "best" else ""
        table.add_row(Text(name, style=style), Text(format_loss(value), style=style), share)
    if polished := summary.get("polish"):
        share = f"{polished['loss'] / loss['naive']:.0%}" if loss.get("naive") else ""
        table.add_row("then polished by gradient", format_loss(polished["loss"]), share)
    return table


def new_table(title: str, *columns: str) -> Table:
    """An empty table: names at the left, numbers flush right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table
