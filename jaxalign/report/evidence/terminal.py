"""What is printed after an evaluation: the verdict, the numbers behind it, and the files."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxalign.report.evidence.culturalbench import LEVELS
from jaxalign.report.numbers import (
    format_difference,
    format_interval,
    format_loss,
    format_p,
    format_percent,
)
from jaxalign.report.parts import country_name
from jaxalign.report.terminal import new_table, print_files, print_notice


def print_evaluation(
    evaluation: dict[str, Any], files: list[tuple[str, str]], *, console: Console | None = None
) -> None:
    """Prints the verdict, the methods, robustness, CulturalBench, and the files of the workdir.

    Args:
        evaluation: the content of evaluation.json.
        files: path and one line of explanation each.
        console: where to print; standard output by default.
    """
    console = console or Console(highlight=False)
    console.print()
    for sentence in evaluation["verdict"]:
        console.print(Text(sentence, style="bold"))
    console.print()
    console.print(_methods(evaluation))
    if (robustness := evaluation.get("robustness")) and robustness["summary"]:
        console.print(_robustness(robustness["summary"]))
    bench = evaluation.get("culturalbench") or {}
    for level in LEVELS:
        if (bench.get(level) or {}).get("rows"):
            console.print(_culturalbench(level, bench))
    print_notice(console, evaluation.get("notice"))
    print_files(console, files)


def _methods(evaluation: dict[str, Any]) -> Table:
    title = f"Loss: {country_name(evaluation)}"
    table = new_table(title, "method", "loss", "95% interval", "tuned minus it")
    for method in evaluation["methods"]:
        style = "bold" if method["group"] == "tuned" else ""
        difference = (method.get("difference") or {}).get("mean")
        table.add_row(
            Text(method["name"], style=style),
            Text(format_loss(method["loss"]), style=style),
            format_interval(method.get("interval")),
            "" if method["group"] == "tuned" else format_difference(difference),
        )
    return table


def _robustness(summary: dict[str, dict[str, Any]]) -> Table:
    table = new_table("Loss by format, mean", "", "seen", "held out", "worst", "in")
    for name, of_method in summary.items():
        losses = (format_loss(of_method[key]) for key in ("seen", "held_out", "worst"))
        style = "bold" if name == "tuned" else ""
        table.add_row(Text(name, style=style), *losses, Text(of_method.get("worst_name") or ""))
    return table


def _culturalbench(level: str, bench: dict[str, Any]) -> Table:
    toy = ", toy questions" if bench["fixture"] else ""
    heads = ("", "n", "accuracy", "95% interval", "chance", "p, Holm")
    table = new_table(f"CulturalBench, {level.capitalize()}{toy}", *heads)
    for row in bench[level]["rows"]:
        table.add_row(
            Text(f"{row['scope']}, {row['method']}"),
            f"{row['n']:,}",
            format_percent(row["accuracy"]),
            format_interval((row["low"], row["high"]), format_percent),
            format_percent(row["chance"], 2),
            format_p(row["mcnemar"]["p_holm"]) if row.get("mcnemar") else "",
        )
    return table
