"""What the pages share: their look, the lead, the losses, the settings, and plots drawn inside."""

import math
import re
import string
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from typing import Any

from jaxalign.files import RunFiles
from jaxalign.report import drawing
from jaxalign.report.numbers import baseline_name, format_loss, format_seconds, loss_unit

# What decides a result, as dotted keys of the config; a page shows the rest folded away.
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
    "objective.formats",
)

# The plots' colours, which the page swaps for its own so that they follow light and dark.
_COLOURS = {
    drawing.INK: "ink",
    drawing.MUTED: "muted",
    drawing.PALE: "pale",
    drawing.GRID: "grid",
    drawing.GROUND: "ground",
    drawing.BLUE: "blue",
    drawing.ORANGE: "orange",
    drawing.GREEN: "green",
}


def fill(template: str, run: RunFiles, title: str, evaluated: str = "", **parts: str) -> str:
    """Returns a page on a run: a template of this folder with these parts and what all pages have.

    Args:
      template: of the page's body.
      run: what it is about.
      title: without the model.
      evaluated: HTML on how to repeat an evaluation, after how to repeat the run.
      parts: of the template.
    """
    summary, config = run.summary, flatten(run.config.get("config", {}))
    settings = substitute(
        "settings.html",
        settings=_rows((key, config[key]) for key in SETTINGS if config.get(key) not in (None, "")),
        reproduce=_reproduce(run.config),
        evaluated=evaluated,
        everything=_rows(flatten(run.config).items()),
    )
    body = substitute(template, losses=_losses(summary), settings=settings, **parts)
    notices = [summary["notice"]] if summary.get("notice") else []
    return frame(f"{title} for {_model(summary)}", body, notices, _lead(summary))


def frame(title: str, body: str, notices: Iterable[str], lead: str = "") -> str:
    """Returns a page: the look, title, lead and notices around a body that is HTML already."""
    return substitute(
        "frame.html",
        title=escape(title),
        style=(files("jaxalign.report") / "page.css").read_text(encoding="utf-8"),
        lead=f'<p class="lead">{escape(lead)}</p>\n' if lead else "",
        notice="\n".join(f'<p class="note" role="note">{escape(each)}</p>' for each in notices),
        body=body,
    )


def substitute(template: str, **parts: str) -> str:
    """Returns a template of this folder, or of one below it, with its parts put in."""
    path = files("jaxalign.report") / template
    return string.Template(path.read_text(encoding="utf-8")).substitute(parts)


def inline_svg(svg: str, prefix: str) -> str:
    """Returns an SVG file's element for use in a page: its own ids, the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}-', svg)
    svg = svg.replace("url(#", f"url(#{prefix}-")
    for colour, name in _COLOURS.items():
        svg = re.sub(re.escape(colour), f"var(--{name})", svg, flags=re.IGNORECASE)
    return svg


def country_name(summary: dict[str, Any]) -> str:
    """The country that a summary is about, by name where it has one."""
    return str(summary.get("country_name") or summary["country"])


def share(loss: dict[str, float | None], key: str) -> float | None:
    """A loss as a share of the naive one, None where either is missing or the naive one is 0."""
    value, naive = loss.get(key), loss.get("naive")
    return value / naive if naive and value is not None else None


def _model(summary: dict[str, Any]) -> str:
    model = str(summary.get("model", "a model"))
    return "the embedded model" if model == "embedded" else model


def _lead(summary: dict[str, Any]) -> str:
    in_all = " in all" if "countries" in summary else ""
    parts = []
    if "strategy" in summary:
        parts.append(str(summary["strategy"]))
    if summary.get("generations") is not None:
        parts.append(f"{summary['generations']:,} generations")
    if summary.get("evaluations") is not None:
        parts.append(f"{summary['evaluations']:,} evaluations{in_all}")
    if summary.get("seconds") is not None:
        parts.append(f"{format_seconds(summary['seconds'])} on {summary.get('hardware', '?')}")
    if summary.get("tokens_per_second"):
        parts.append(f"{summary['tokens_per_second']:,.0f} tokens/s")
    return " · ".join(parts)


def _losses(summary: dict[str, Any]) -> str:
    """The losses in large type; the means over the countries where there are several."""
    loss, norm = summary["loss"], loss_unit(summary)
    mean = "mean " if "countries" in summary else ""
    out = []
    names = {"best": "tuned", "naive": "naive", "constant": baseline_name(summary)}
    for key, name in names.items():
        of_naive = share(loss, key) if key != "naive" else None
        small = "" if of_naive is None else f"<small>{of_naive:.0%} of naive</small>"
        out.append(
            f'<div class="{key}"><dt>{mean}{name} loss{f" ({escape(norm)})" if norm else ""}</dt>'
            f"<dd>{format_loss(loss.get(key))}{small}</dd></div>"
        )
    return "\n".join(out)


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


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns dotted keys to values; a group that SETTINGS names as a whole stays one value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in SETTINGS:
            flat |= flatten(value, f"{name}.")
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
