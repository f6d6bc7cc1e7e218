"""Answer distributions of a summary, item by item: rows for the tables of page and terminal."""

import csv
import io
from html import escape
from typing import Any, NamedTuple

from jaxalign.report.numbers import baseline_name, format_score, format_shares

KINDS = {"target": "target", "naive": "naive_scores", "tuned": "scores"}


class Answers(NamedTuple):
    """The answers to one item.

    Attributes:
      id, text: of the item; options: what can be answered.
      measure: `Wasserstein-1` or `Jensen-Shannon`.
      shares: of the options, in percent, of `target`, `naive` and `tuned`.
      distance: to the target, in percent, of `constant`, `naive` and `best`.
    """

    id: str
    text: str
    options: tuple[str, ...]
    measure: str
    shares: dict[str, list[float | None]]
    distance: dict[str, float | None]


def read_answers(summary: dict[str, Any]) -> list[Answers]:
    """The items of a summary; none where scores are not compared as distributions."""
    return [
        Answers(
            id=id_,
            text=item["text"],
            options=tuple(item["options"].values()),
            measure=item["measure"],
            shares={
                kind: [(summary.get(place) or {}).get(key) for key in item["options"]]
                for kind, place in KINDS.items()
            },
            distance=item["distance"],
        )
        for id_, item in (summary.get("items") or {}).items()
    ]


def answers_csv(summary: dict[str, Any]) -> str:
    """Returns one line per item with every digit of its distances to the target, in percent."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    columns = ["item", "measure", "constant", "naive", "tuned", "constant_means", "notice"]
    table.writerow(columns)
    for item in read_answers(summary):
        distances = (item.distance[key] for key in ("constant", "naive", "best"))
        cells = [item.id, item.measure, *distances, baseline_name(summary), summary.get("notice")]
        table.writerow(["" if cell is None else cell for cell in cells])
    return out.getvalue()


def answers_table(summary: dict[str, Any]) -> str:
    """Returns the page's table: of each item the shares, and the distances to the target."""
    columns = ("target", "naive", "tuned", "distance naive", "distance tuned")
    rows = []
    for item in read_answers(summary):
        options = " · ".join(map(escape, item.options))
        shares = {
            kind: format_shares(values).replace(" ", "&nbsp;")
            for kind, values in item.shares.items()
        }
        rows.append(
            f"<tr><td><strong>{escape(item.id)}</strong> {escape(item.text)}<br>"
            f"<small>{options}</small></td><td>{shares['target']}</td><td>{shares['naive']}</td>"
            f'<td class="tuned">{shares["tuned"]}</td>'
            f"<td>{format_score(item.distance['naive'])}</td>"
            f"<td>{format_score(item.distance['best'])}</td></tr>"
        )
    head = "".join(f'<th scope="col">{column}</th>' for column in ("item", *columns))
    body = "\n".join(rows)
    return (
        f'<table class="items">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table>\n"
        "<p>Shares of the options in percent, in their order; distances in percent of the most "
        "there is.</p>"
    )
