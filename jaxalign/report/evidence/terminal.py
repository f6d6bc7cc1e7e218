"""What is printed after an evaluation: the verdict, the numbers behind it, and the files."""

from rich.console import Console
from rich.text import Text

from jaxalign.report.evidence.record import Evaluation
from jaxalign.report.numbers import (
    format_difference,
    format_interval,
    format_loss,
    format_p,
    format_percent,
)
from jaxalign.report.tables import new_table
from jaxalign.report.terminal import Files, print_files, print_notice


def print_evaluation(
    evaluation: Evaluation, files: Files, *, console: Console | None = None
) -> None:
    """Print the verdict, the methods, robustness, CulturalBench, and the files of the workdir.

    Args:
        evaluation: the content of evaluation.json.
        files: path and one line of explanation each.
        console: where to print; standard output by default.
    """
    console = console or Console(highlight=False)
    console.print()
    for sentence in evaluation.verdict:
        console.print(Text(sentence, style="bold"))
    console.print()
    table = new_table(
        f"Loss: {evaluation.country_title}", "method", "loss", "95% interval", "tuned minus it"
    )
    for method in evaluation.methods:
        is_tuned = method.group == "tuned"
        style = "bold" if is_tuned else ""
        difference = method.difference.mean if method.difference else None
        table.add_row(
            Text(method.name, style=style),
            Text(format_loss(method.loss), style=style),
            format_interval(method.interval),
            "" if is_tuned else format_difference(difference),
        )
    console.print(table)
    if evaluation.robustness and evaluation.robustness.summary:
        table = new_table("Mean loss", "", "tuned on", "test", "95% interval", "worst", "in")
        for name, found in evaluation.robustness.summary.items():
            style = "bold" if name == "tuned" else ""
            table.add_row(
                Text(name, style=style),
                format_loss(found.seen),
                format_loss(found.held_out),
                format_interval(found.interval),
                format_loss(found.worst),
                Text(found.worst_name or ""),
            )
        console.print(table)
    bench = evaluation.culturalbench
    for level, rows in (bench.levels() if bench else {}).items():
        toy = ", toy questions" if bench and bench.fixture else ""
        heads = ("", "n", "accuracy", "95% interval", "chance", "p, Holm")
        table = new_table(f"CulturalBench, {level.capitalize()}{toy}", *heads)
        for row in rows:
            table.add_row(
                Text(f"{row.scope}, {row.method}"),
                f"{row.n:,}",
                format_percent(row.accuracy),
                format_interval((row.low, row.high), format_percent),
                format_percent(row.chance, 2),
                format_p(row.mcnemar.p_holm) if row.mcnemar else "",
            )
        console.print(table)
    print_notice(console, evaluation.notice)
    print_files(console, files)
