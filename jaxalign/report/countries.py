"""The report of a run for several countries: one page that leads to the page of each."""

import csv
import io
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jaxalign.files import RunFiles, read_run, write_file
from jaxalign.report.countries_plot import FEW, plot_countries
from jaxalign.report.numbers import MISSING, baseline_name, format_loss
from jaxalign.report.parts import country_name, fill, inline_svg, share

_GREY = " Named are the lowest, the middle and the highest at the end; the others are grey."
_RESCORED = " The lines end at what the search saw; the table has the mean over fresh respondents."


def write_countries_report(workdir: Path) -> Path:
    """Writes report/ of a finished run for several countries and returns the page's path.

    Every file is written under a temporary name and then renamed, the page last.

    Raises:
        UserError: a file of the workdir is missing or damaged, or the folder cannot be written.
    """
    workdir = Path(workdir)
    run = read_run(workdir, needed=("country", "loss", "countries"))
    folder, countries = workdir / "report", run.summary["countries"]
    write_file(folder / "losses.csv", losses_csv(run.summary).encode())
    title = f"Convergence: {len(countries)} countries"
    plot_countries(run.records, countries, title, run.summary.get("notice"), folder / "convergence")
    page = folder / "index.html"
    svg = (folder / "convergence.svg").read_text(encoding="utf-8")
    write_file(page, render_countries(run, svg).encode())
    return page


def losses_csv(summary: dict[str, Any]) -> str:
    """Returns one line per country with every digit; a missing loss is an empty cell."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    columns = ["country", "name", "constant", "naive", "tuned", "tuned_share_of_naive", "notice"]
    table.writerow(columns)
    for code, country in summary["countries"].items():
        loss = country["loss"]
        losses = (loss.get(key) for key in ("constant", "naive", "best"))
        cells = [*losses, share(loss, "best"), summary.get("notice")]
        names = code, country_name(country)
        table.writerow([*names, *("" if cell is None else cell for cell in cells)])
    return out.getvalue()


def render_countries(run: RunFiles, svg: str) -> str:
    """Returns the page: pure, and without a reference to anything outside its workdir."""
    countries = run.summary["countries"]
    return fill(
        "countries.html",
        run,
        f"{len(countries)} countries: soft prompts",
        countries="\n".join(_row(code, country) for code, country in countries.items()),
        baseline=escape(baseline_name(run.summary)),
        convergence=inline_svg(svg, "convergence"),
        drawn="" if len(countries) <= FEW else _GREY,
        rescored=_RESCORED if any("rescored" in each for each in countries.values()) else "",
    )


def _row(code: str, country: dict[str, Any]) -> str:
    loss = country["loss"]
    of_naive = share(loss, "best")
    page = f"../countries/{quote(code)}/report/index.html"
    return (
        f'<tr><td><a href="{page}">{escape(country_name(country))}</a></td>'
        f"<td>{format_loss(loss.get('constant'))}</td><td>{format_loss(loss.get('naive'))}</td>"
        f'<td class="tuned">{format_loss(loss.get("best"))}</td>'
        f"<td>{MISSING if of_naive is None else f'{of_naive:.0%}'}</td></tr>"
    )
