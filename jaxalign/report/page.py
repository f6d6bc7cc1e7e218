"""The report of a workdir: a table, two plots, and one page that opens without a network."""

import csv
import io
import math
import re
import string
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from jaxalign.report import plots
from jaxalign.report.files import RunFiles, read_run, write_file
from jaxalign.report.numbers import distance, format_loss, format_score, format_seconds

# What decides a result, as dotted keys of the config; the page shows the rest folded away.
SETTINGS = (
    "country",
    "seed",
    "model.path",
    "model.revision",
    "model.dtype",
    "survey.instrument",
    "survey.targets",
    "survey.constant",
    "prompt.length",
    "prompt.init",
    "search.strategy",
    "search.strategy_params",
    "search.space",
    "search.population",
    "search.generations",
    "objective.readout",
    "objective.norm",
)

# The plots' colours, which the page swaps for its own so that they follow light and dark.
_COLOURS = {
    plots.INK: "ink",
    plots.MUTED: "muted",
    plots.PALE: "pale",
    plots.GRID: "grid",
    plots.GROUND: "ground",
    plots.BLUE: "blue",
    plots.ORANGE: "orange",
    plots.GREEN: "green",
}


def write_report(workdir: Path) -> Path:
    """Writes report/ from the files of a finished run and returns the page's path.

    Every file is written under a temporary name and then renamed, the page last.

    Raises:
        UserError: a file of the workdir is missing or damaged, or the folder cannot be written.
    """
    workdir = Path(workdir)
    run = read_run(workdir)
    folder = workdir / "report"
    summary = run.summary
    notice = summary.get("notice")
    name = _country(summary)
    write_file(folder / "scores.csv", scores_csv(summary).encode())
    plots.plot_convergence(
        run.records, summary["loss"], f"Convergence: {name}", notice, folder / "convergence"
    )
    scores = {"target": summary["target"], "naive": summary.get("naive_scores") or {}}
    scores["tuned"] = summary["scores"]
    drawn = {label: of_label for label, of_label in scores.items() if of_label}
    plots.plot_radar(drawn, f"Scores: {name}", notice, folder / "radar")
    svgs = {
        stem: (folder / f"{stem}.svg").read_text(encoding="utf-8")
        for stem in ("convergence", "radar")
    }
    page = folder / "index.html"
    write_file(page, render_page(run, svgs).encode())
    return page


def scores_csv(summary: dict[str, Any]) -> str:
    """Returns one line per dimension with every digit; a missing score is an empty cell."""
    naive = summary.get("naive_scores") or {}
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    columns = ["dimension", "target", "naive", "tuned", "distance_naive", "distance_tuned"]
    table.writerow([*columns, "notice"])
    for key, target in summary["target"].items():
        before, after = naive.get(key), summary["scores"].get(key)
        cells = [target, before, after, distance(before, target), distance(after, target)]
        cells.append(summary.get("notice"))
        table.writerow([key, *("" if cell is None else cell for cell in cells)])
    return out.getvalue()


def render_page(run: RunFiles, svgs: dict[str, str]) -> str:
    """Returns the page: pure, and without a reference to anything outside its folder."""
    here = files("jaxalign.report")
    summary, config = run.summary, _flatten(run.config.get("config", {}))
    notice = summary.get("notice")
    return string.Template((here / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(f"{_country(summary)}: a soft prompt for {_model(summary)}"),
        lead=escape(_lead(summary)),
        style=(here / "page.css").read_text(encoding="utf-8"),
        notice=f'<p class="note" role="note">{escape(notice)}</p>' if notice else "",
        losses=_losses(summary),
        scores=_scores(summary),
        convergence=inline_svg(svgs["convergence"], "convergence"),
        radar=inline_svg(svgs["radar"], "radar"),
        constant=_constant(summary),
        settings=_rows((key, config[key]) for key in SETTINGS if config.get(key) is not None),
        reproduce=_reproduce(run.config),
        everything=_rows(_flatten(run.config).items()),
    )


def inline_svg(svg: str, prefix: str) -> str:
    """Returns an SVG file's element for use in a page: its own ids, the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}-', svg)
    svg = svg.replace("url(#", f"url(#{prefix}-")
    for colour, name in _COLOURS.items():
        svg = re.sub(re.escape(colour), f"var(--{name})", svg, flags=re.IGNORECASE)
    return svg


def _country(summary: dict[str, Any]) -> str:
    return str(summary.get("country_name") or summary["country"])


def _model(summary: dict[str, Any]) -> str:
    model = str(summary.get("model", "a model"))
    return "the embedded model" if model == "embedded" else model


def _lead(summary: dict[str, Any]) -> str:
    parts = []
    if "strategy" in summary:
        parts.append(str(summary["strategy"]))
    if summary.get("generations") is not None:
        parts.append(f"{summary['generations']:,} generations")
    if summary.get("evaluations") is not None:
        parts.append(f"{summary['evaluations']:,} evaluations")
    if summary.get("seconds") is not None:
        parts.append(f"{format_seconds(summary['seconds'])} on {summary.get('hardware', '?')}")
    if summary.get("tokens_per_second"):
        parts.append(f"{summary['tokens_per_second']:,.0f} tokens/s")
    return " · ".join(parts)


def _losses(summary: dict[str, Any]) -> str:
    loss = summary["loss"]
    naive, norm = loss.get("naive"), str(summary.get("norm", "")).upper()
    out = []
    for key, name in (("best", "tuned"), ("naive", "naive"), ("constant", "constant answer")):
        share = ""
        if key != "naive" and naive and loss.get(key) is not None:
            share = f"<small>{loss[key] / naive:.0%} of naive</small>"
        out.append(
            f'<div class="{key}"><dt>{name} loss{f" ({escape(norm)})" if norm else ""}</dt>'
            f"<dd>{format_loss(loss.get(key))}{share}</dd></div>"
        )
    return "\n".join(out)


def _scores(summary: dict[str, Any]) -> str:
    names = summary.get("dimension_names") or {}
    naive = summary.get("naive_scores") or {}
    out = []
    for key, target in summary["target"].items():
        before, after = naive.get(key), summary["scores"].get(key)
        name = f"<strong>{escape(key)}</strong> {escape(names.get(key, ''))}"
        out.append(
            f"<tr><td>{name}</td><td>{format_score(target)}</td><td>{format_score(before)}</td>"
            f'<td class="tuned">{format_score(after)}</td>'
            f"<td>{format_score(distance(before, target))}</td>"
            f"<td>{format_score(distance(after, target))}</td></tr>"
        )
    return "\n".join(out)


def _constant(summary: dict[str, Any]) -> str:
    constant = summary.get("constant")
    if constant is None:
        return ""
    values = constant if isinstance(constant, list) else [constant]
    texts = [f"{value:g}" for value in values]
    return f" (here {escape(texts[0] if len(set(texts)) == 1 else ', '.join(texts))})"


def _reproduce(config: dict[str, Any]) -> str:
    command = config.get("command")
    if not command:
        return "<p>config.json of this workdir holds every setting.</p>"
    revision = config.get("git_revision")
    at = f" at revision <code>{escape(str(revision))}</code>" if revision else ""
    return (
        f"<pre><code>{escape(str(command))}</code></pre>\n"
        f"<p>Made with jaxalign{at} and the versions below. The same seed, versions and "
        "device repeat the search; another device rounds differently and may take another path.</p>"
    )


def _rows(items: Iterable[tuple[str, Any]]) -> str:
    return "\n".join(
        f"<tr><td><code>{escape(key)}</code></td><td>{escape(_text(value))}</td></tr>"
        for key, value in items
    )


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns dotted keys to values; a group that SETTINGS names as a whole stays one value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in SETTINGS:
            flat |= _flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} = {_text(part)}" for key, part in value.items()) or "defaults"
    if isinstance(value, list):
        return ", ".join(_text(part) for part in value)
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    return "none" if value is None else str(value)
