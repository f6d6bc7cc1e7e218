"""How pages are made: the jinja2 environment, what every page of a run shows, and its plots."""

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from jaxalign.files import RunFiles, write_file
from jaxalign.report import drawing, numbers

# What decides a result, as dotted keys of the config; a page shows the rest folded away.
SETTINGS = (
    "country", "seed", "model.path", "model.revision", "model.dtype", "survey.instrument",
    "survey.targets", "survey.constant", "prompt.length", "prompt.init", "search.strategy",
    "search.strategy_params", "search.space", "search.population", "search.generations",
    "objective.readout", "objective.norm", "objective.formats",
)  # fmt: skip

# The plots' colours, which the page replaces with its own so that they follow light and dark.
_COLOURS = ("ink", "muted", "pale", "grid", "ground", "blue", "orange", "green")


class Plot(NamedTuple):
    """A plot to be put into a page.

    Attributes:
      svg: the element.
      width: its own width in points.
    """

    svg: Markup
    width: float


@functools.cache
def environment() -> jinja2.Environment:
    """Return the one environment of all templates, with the filters that write numbers."""
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxalign.report"),
        autoescape=jinja2.select_autoescape(),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    env.filters |= {
        "loss": numbers.format_loss,
        "score": numbers.format_score,
        "shares": numbers.format_shares,
        "difference": numbers.format_difference,
        "percent": numbers.format_percent,
        "p": numbers.format_p,
        "interval": numbers.format_interval,
        "duration": numbers.format_seconds,
        "setting": numbers.format_setting,
        "counted": lambda count: f"{count:,}",
        "and": join_words,
    }
    env.globals |= {
        "MISSING": numbers.MISSING,
        "distance": numbers.distance,
        "format_difference": numbers.format_difference,
        "format_percent": numbers.format_percent,
    }
    return env


def render(template: str, **context: Any) -> str:
    """Return a template filled with a context."""
    return environment().get_template(template).render(**context)


def write_run_page(page: Path, template: str, run: RunFiles, **context: Any) -> None:
    """Write a page about a run, with the settings and losses that every such page shows.

    Args:
      page: the file. The template can use the plots in its folder by their names.
      template: a child of run.html.
      run: what the page is about.
      context: what else the template needs.
    """
    summary, config = run.summary, flatten(run.config.get("config", {}))
    names = {"best": "tuned", "naive": "naive", "constant": numbers.baseline_name(summary)}
    html = render(
        template,
        run=run,
        summary=summary,
        config=config,
        country=numbers.country_name(summary),
        unit=numbers.loss_unit(summary),
        losses=[
            (key, name, summary["loss"].get(key), numbers.share_of_naive(summary["loss"], key))
            for key, name in names.items()
        ],
        baseline=names["constant"],
        settings=[(key, config[key]) for key in SETTINGS if config.get(key) not in (None, "")],
        everything=flatten(run.config),
        plots={path.stem: read_plot(path) for path in sorted(page.parent.glob("*.svg"))},
        **context,
    )
    write_file(page, html.encode())


def read_plot(path: Path) -> Plot:
    """Read an SVG file for use in a page: with ids of its own, and the page's colours."""
    svg = path.read_text(encoding="utf-8")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{path.stem}-', svg)
    svg = re.sub(r'href="#', f'href="#{path.stem}-', svg)
    svg = svg.replace("url(#", f"url(#{path.stem}-")
    for name in _COLOURS:
        colour = getattr(drawing, name.upper())
        svg = re.sub(colour, f"var(--{name})", svg, flags=re.IGNORECASE)
    return Plot(Markup(svg), float(re.findall(r'\bwidth="([\d.]+)pt"', svg)[0]))


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return dotted keys to values; a group that SETTINGS names as a whole stays one value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in SETTINGS:
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def join_words(words: Sequence[Any]) -> str:
    """Join words with commas and a last "and"."""
    *first, last = map(str, words or [""])
    return f"{', '.join(first)} and {last}" if first else last
