"""The report of a workdir: a table, its plots, and one page that opens without a network."""

import csv
import io
from html import escape
from pathlib import Path
from typing import Any

from jaxalign.report import plots
from jaxalign.report.files import Front, RunFiles, read_front, read_run, write_file
from jaxalign.report.front_plot import explain_front, plot_front
from jaxalign.report.numbers import distance, format_score
from jaxalign.report.parts import country_name, fill, inline_svg, limits

_FRONT_FILES = "".join(
    f',\n<a href="{path}">{path.removeprefix("../")}</a>'
    for path in ("front.png", "front.svg", "../pareto.csv")
)


def write_report(workdir: Path) -> Path:
    """Writes report/ from the files of a finished run and returns the page's path.

    Every file is written under a temporary name and then renamed, the page last.

    Raises:
        UserError: a file of the workdir is missing or damaged, or the folder cannot be written.
    """
    workdir = Path(workdir)
    run, front = read_run(workdir), read_front(workdir)
    folder = workdir / "report"
    summary = run.summary
    notice = summary.get("notice")
    name = country_name(summary)
    write_file(folder / "scores.csv", scores_csv(summary).encode())
    plots.plot_convergence(
        run.records, summary["loss"], f"Convergence: {name}", notice, folder / "convergence"
    )
    scores = {"target": summary["target"], "naive": summary.get("naive_scores") or {}}
    scores["tuned"] = summary["scores"]
    drawn = {label: of_label for label, of_label in scores.items() if of_label}
    plots.plot_radar(drawn, f"Scores: {name}", notice, folder / "radar")
    stems = ["convergence", "radar"]
    if front is not None and front.values:
        terms = summary.get("terms", {})
        plot_front(front, terms, f"Objectives: {name}", notice, folder / "front")
        stems.append("front")
    svgs = {stem: (folder / f"{stem}.svg").read_text(encoding="utf-8") for stem in stems}
    page = folder / "index.html"
    write_file(page, render_page(run, svgs, front).encode())
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


def render_page(run: RunFiles, svgs: dict[str, str], front: Front | None = None) -> str:
    """Returns the page: pure, and without a reference to anything outside its workdir."""
    summary = run.summary
    return fill(
        "page.html",
        run,
        f"{country_name(summary)}: a soft prompt",
        scores=_scores(summary),
        convergence=inline_svg(svgs["convergence"], "convergence"),
        radar=inline_svg(svgs["radar"], "radar"),
        front="" if front is None else _front(front, svgs.get("front")),
        front_files=_FRONT_FILES if "front" in svgs else "",
        limits=limits(summary.get("constant")),
    )


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


def _front(front: Front, svg: str | None) -> str:
    """The figure of the front; the words alone where there is nothing to draw."""
    words = escape(explain_front(front))
    if svg is None:
        return f"<p>{words}</p>\n"
    return (
        '<figure role="img" aria-label="Objectives of the front; the values are in pareto.csv">\n'
        f"{inline_svg(svg, 'front')}\n<figcaption>{words}</figcaption>\n</figure>\n"
    )
