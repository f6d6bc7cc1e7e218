"""The end of a run for tools that show plots and texts, from the files of its workdir."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from jaxalign.files import read_run
from jaxalign.report.answers import read_answers
from jaxalign.report.numbers import (
    baseline_name,
    format_loss,
    format_score,
    format_shares,
    score_digits,
)
from jaxalign.report.parts import country_name, share


@dataclasses.dataclass(frozen=True)
class Ending:
    """What a finished run shows.

    Attributes:
      generation: the last one.
      summary: the content of summary.json.
      plots: the report's PNG files by name.
      texts: Markdown by name: the summary as a table, the command, the config.
    """

    generation: int
    summary: dict[str, Any]
    plots: dict[str, Path]
    texts: dict[str, str]


def read_ending(workdir: Path) -> Ending:
    """Reads what a finished run for one country or several has left.

    Raises:
      UserError: a file is missing or damaged.
    """
    run = read_run(workdir, needed=("country", "loss"))
    settings = {key: run.config.get(key) for key in ("config", "resolved")}
    return Ending(
        generation=run.records[-1]["generation"],
        summary=run.summary,
        plots={f"report/{path.stem}": path for path in sorted(workdir.glob("report/*.png"))},
        texts={
            "summary": _summary(run.summary),
            "command": _code(str(run.config.get("command"))),
            "config": _code(json.dumps(settings, indent=2)),
        },
    )


def _summary(summary: dict[str, Any]) -> str:
    """The losses of each country, and what was aimed at where there is one; the notice above."""
    countries = summary.get("countries") or {summary["country"]: summary}
    losses = [["country", baseline_name(summary), "naive", "tuned", "share of naive"]]
    for country in countries.values():
        loss = country["loss"]
        of_naive = share(loss, "best")
        told = (format_loss(loss.get(key)) for key in ("constant", "naive", "best"))
        cells = [country_name(country), *told, "" if of_naive is None else f"{of_naive:.0%}"]
        losses.append(cells)
    tables = [losses] if "countries" in summary else [losses, _aims(summary)]
    notice = [f"**{summary['notice']}**"] if summary.get("notice") else []
    return "\n\n".join(notice + [_table(rows) for rows in tables])


def _aims(summary: dict[str, Any]) -> list[list[str]]:
    """Rows of the dimensions' scores, or of each item's answers in percent."""
    if answers := read_answers(summary):
        shares = [[item.id, *map(format_shares, item.shares.values())] for item in answers]
        return [["item", "target", "naive", "tuned"], *shares]
    naive, digits = summary.get("naive_scores") or {}, score_digits(summary)
    rows = [["dimension", "target", "naive", "tuned"]]
    for key, target in summary["target"].items():
        scores = (target, naive.get(key), summary["scores"].get(key))
        rows.append([key, *(format_score(score, digits) for score in scores)])
    return rows


def _table(rows: list[list[str]]) -> str:
    head, *rest = rows
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rest]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _code(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
