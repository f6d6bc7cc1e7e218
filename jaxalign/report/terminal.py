"""What is printed before and after a run: settings, scores against the target, losses, files."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxalign.report.answers import read_answers
from jaxalign.report.numbers import (
    baseline_name,
    country_name,
    distance,
    format_loss,
    format_percent,
    format_score,
    format_shares,
    loss_unit,
    score_digits,
    share_of_naive,
)
from jaxalign.report.tables import new_table

Files = list[tuple[str, str]]  # path and one line of explanation


def print_header(
    rows: dict[str, str], notice: str | None = None, *, console: Console | None = None
) -> None:
    """Print what is about to run: one line per row, and the notice if there is one."""
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
    files: Files,
    notice: str | None = None,
    *,
    console: Console | None = None,
) -> None:
    """Print the scores against the target, the losses, and the files of the workdir.

    Args:
        summary: the content of summary.json.
        files: path and one line of explanation each.
        notice: printed below the losses, for example of a model without scientific meaning.
        console: where to print; standard output by default.
    """
    console = console or Console(highlight=False)
    rows = list(score_rows(summary))
    title = "Answers in percent" if summary.get("items") else "Scores"
    scores = new_table(f"{title}: {country_name(summary)}", *rows[0], "distance tuned")
    for (*cells, tuned), far in zip(rows[1:], _distances(summary), strict=True):
        scores.add_row(*map(Text, cells), Text(tuned, style="bold"), far)
    unit = loss_unit(summary)
    losses = new_table(f"Loss ({unit})" if unit else "Loss", "", "loss", "share of naive")
    names = {baseline_name(summary): "constant", "naive": "naive", "tuned": "best"}
    for name, key in names.items():
        style = "bold" if key == "best" else ""
        row = name, format_loss(summary["loss"].get(key)), _percent(summary["loss"], key)
        losses.add_row(*(Text(cell, style=style) for cell in row))
    if polished := summary.get("polish"):
        share = _percent(summary["loss"] | {"best": polished["loss"]})
        losses.add_row("then polished by gradient", format_loss(polished["loss"]), share)
    console.print()
    console.print(scores)
    console.print(losses)
    print_notice(console, notice)
    print_files(console, files)


def print_results(
    summaries: dict[str, dict[str, Any]],
    files: Files,
    notice: str | None = None,
    *,
    console: Console | None = None,
) -> None:
    """Print the losses of a multi-country run, one line each, and the files.

    Args:
        summaries: the content of each country's summary.json.
        files: path and one line of explanation each.
        notice: printed below the losses.
        console: where to print; standard output by default.
    """
    console = console or Console(highlight=False)
    rows = loss_rows(list(summaries.values()))
    table = new_table("Loss", *rows[0])
    for *cells, tuned, share in rows[1:]:
        table.add_row(*cells, Text(tuned, style="bold"), share)
    console.print()
    console.print(table)
    print_notice(console, notice)
    print_files(console, files)


def score_rows(summary: dict[str, Any]) -> Iterator[list[str]]:
    """Yield a head, then each dimension's scores, or each item's shares of answers in percent."""
    items = read_answers(summary)
    yield ["item" if items else "dimension", "target", "naive", "tuned"]
    for item in items:
        yield [item.id, *map(format_shares, item.shares.values())]
    names = summary.get("dimension_names") or {}
    naive, digits = summary.get("naive_scores") or {}, score_digits(summary)
    for key, target in {} if items else summary["target"].items():
        scores = target, naive.get(key), summary["scores"].get(key)
        name = f"{key}  {names[key]}" if key in names else key
        yield [name, *(format_score(score, digits) for score in scores)]


def loss_rows(summaries: list[dict[str, Any]]) -> list[list[str]]:
    """Return a head, then the losses of each country."""
    rows = [["country", baseline_name(summaries[0]), "naive", "tuned", "share of naive"]]
    for summary in summaries:
        losses = (format_loss(summary["loss"].get(key)) for key in ("constant", "naive", "best"))
        rows.append([country_name(summary), *losses, _percent(summary["loss"])])
    return rows


def print_files(console: Console, files: Files) -> None:
    """Print whole paths, ready to copy, beside their explanations, or above if that is too wide."""
    width = max((len(path) for path, _ in files), default=0)
    fits = all(width + 2 + len(line) <= console.width for _, line in files)
    for path, line in files:
        text = Text(path.ljust(width) + "  " if fits else path + "\n    ")
        console.print(text.append(line, style="dim"), soft_wrap=True)


def print_notice(console: Console, notice: str | None) -> None:
    """Print the notice, if there is one."""
    if notice:
        console.print(Text(f"Note: {notice}", style="bold yellow"))
        console.print()


def _distances(summary: dict[str, Any]) -> list[str]:
    if items := read_answers(summary):
        return [format_score(item.distance["best"]) for item in items]
    digits, scores = score_digits(summary), summary["scores"]
    return [
        format_score(distance(scores.get(key), target), digits)
        for key, target in summary["target"].items()
    ]


def _percent(loss: dict[str, float | None], key: str = "best") -> str:
    share = share_of_naive(loss, key)
    return "" if share is None else format_percent(share, 0)
