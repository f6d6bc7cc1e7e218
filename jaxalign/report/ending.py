"""The end of a run for experiment trackers, from the files of its workdir."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from jaxalign.files import read_run
from jaxalign.report.tables import markdown_table
from jaxalign.report.terminal import loss_rows, score_rows


@dataclasses.dataclass(frozen=True)
class Ending:
    """What a tracker shows of a finished run.

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
    """Read what a finished run, for one country or several, has left.

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
    """Return the notice, the losses of each country, and the scores if there is one country."""
    parts = [f"**{summary['notice']}**\n"] if summary.get("notice") else []
    countries = summary.get("countries") or {summary["country"]: summary}
    tables = [loss_rows([{"baseline": summary.get("baseline", "constant answer"), **country}
                         for country in countries.values()])]  # fmt: skip
    if "countries" not in summary:
        tables.append(list(score_rows(summary)))
    return "\n".join(parts + [markdown_table(rows, words=rows[0][:1]) for rows in tables])


def _code(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
