"""What the answers look like: shares of the options, how sure, and whether they are written so."""

from pathlib import Path
from typing import Any

from jaxalign.report.evidence.answers_plot import plot_answers
from jaxalign.report.evidence.section import (
    Section,
    cell,
    drawn,
    figure,
    html_table,
    render,
    write_csv,
)
from jaxalign.report.numbers import format_decimals, format_percent

METHODS = ("naive", "tuned")
_COLUMNS = (
    "item", "text", "method", "option", "value", "share", "mean", "entropy", "off_scale", "written",
    "kind", "agrees",
)  # fmt: skip
_COUNTS = ("agree", "disagree", "refusal", "unparsed")


def write_answers(evaluation: dict[str, Any], folder: Path) -> Section:
    """Writes answers.csv and the heat map into the folder; returns the section, if there is one."""
    answers, notice = evaluation["answers"], evaluation["notice"]
    if not answers or not answers["items"]:
        return Section()
    items = answers["items"]
    lines = [
        [item["id"], item["text"], method, option, value, share, *_rest(item[method])]
        for item in items
        for method in METHODS
        if item[method]
        for option, value, share in zip(
            item["options"], item["values"], item[method]["shares"], strict=True
        )
    ]
    written = write_csv(folder / "answers.csv", _COLUMNS, lines, notice)
    methods = [method for method in METHODS if any(item[method] for item in items)]
    plot_answers(items, methods, "Answers to each item, in percent", notice, folder / "answers")
    html = render(
        "answers",
        figure=figure(
            folder, "answers", "Share of each option for each item; the values are in answers.csv",
            "Share of each option in percent, in the survey's own order; entropy in nats (0: "
            "always one option; with five options evenly used 1.61); off: percent of the "
            "probability outside the options; written: whether the answer that the model writes "
            "is the likeliest option.",
            least=0.8,
        ),
        summary=_summary(answers["methods"]),
        items=_items(items, methods),
    )  # fmt: skip
    return Section(html, (written, *drawn("answers")))


def _rest(answer: dict[str, Any]) -> list[Any]:
    agrees = {True: "yes", False: "no", None: None}[answer["agrees"]]
    numbers = [answer[key] for key in ("mean", "entropy", "off_scale")]
    return [*numbers, answer["written"], answer["kind"], agrees]


def _summary(methods: dict[str, dict[str, Any]]) -> str:
    rows = [
        [method, format_decimals(each["entropy"]), format_percent(each["collapsed"]),
         format_percent(each["off_scale"]), *(format_decimals(each[key], 0) for key in _COUNTS)]
        for method, each in methods.items()
    ]  # fmt: skip
    heads = ["method", "mean entropy", "items with the commonest option", "mean off scale"]
    heads += ["written agrees", "disagrees", "refusals", "not understood"]
    return html_table(heads, rows, strong="tuned") if rows else ""


def _items(items: list[dict[str, Any]], methods: list[str]) -> str:
    rows = []
    for item in items:
        row = [cell(item["id"], item["text"])]
        for method in methods:
            answer = item[method] or {}
            row.append(cell(format_decimals(answer.get("mean"))))
            row.append(cell(answer.get("written") or ""))
        rows.append(row)
    heads = [f"{method}, {what}" for method in methods for what in ("mean", "written")]
    table = html_table(["item", *heads], rows, kind="texts")
    return f"<details>\n<summary>Every item and what was written</summary>\n{table}\n</details>"
