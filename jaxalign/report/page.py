"""The report of a workdir: a table, its plots, and one page that opens without a network."""

import csv
import io
from html import escape
from pathlib import Path
from typing import Any

from jaxalign.files import Front, RunFiles, read_front, read_run, write_file
from jaxalign.report import plots
from jaxalign.report.answers import answers_csv, answers_table, read_answers
from jaxalign.report.answers_plot import MOST, plot_answers
from jaxalign.report.front_plot import explain_front, plot_front
from jaxalign.report.meaning import explain
from jaxalign.report.numbers import baseline_name, distance, format_score, score_digits
from jaxalign.report.parts import country_name, fill, inline_svg

_FRONT_TABLE = "../pareto.csv"


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
    losses = {"naive": summary["loss"].get("naive")}
    losses[baseline_name(summary)] = summary["loss"].get("constant")
    plots.plot_convergence(
        run.records, losses, f"Convergence: {name}", notice, folder / "convergence"
    )
    items = read_answers(summary)
    if items:
        write_file(folder / "answers.csv", answers_csv(summary).encode())
        plot_answers(items, f"Answers: {name}", notice, folder / "answers")
    else:
        scores = {"target": summary["target"], "naive": summary.get("naive_scores") or {}}
        scores["tuned"] = summary["scores"]
        drawn = {label: of_label for label, of_label in scores.items() if of_label}
        ends = score_range(summary)
        plots.plot_radar(drawn, f"Scores: {name}", notice, folder / "radar", ends)
    stems = ["convergence", "answers" if items else "radar"]
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
        heading="Answers" if "answers" in svgs else "Scores",
        scores=answers_table(summary) if "answers" in svgs else _scores(summary),
        convergence=inline_svg(svgs["convergence"], "convergence"),
        profile=_answers(svgs["answers"]) if "answers" in svgs else _radar(summary, svgs["radar"]),
        front="" if front is None else _front(front, svgs.get("front")),
        files=_files(svgs),
        meaning=explain(summary),
    )


def score_range(summary: dict[str, Any]) -> tuple[float, float] | None:
    """The ends of the scale that scores are read on, None where there is none."""
    ends = summary.get("score_range", (0.0, 100.0))  # before there were others, VSM13's
    return None if ends is None else (ends[0], ends[1])


def _scores(summary: dict[str, Any]) -> str:
    names = summary.get("dimension_names") or {}
    naive = summary.get("naive_scores") or {}
    digits = score_digits(summary)
    columns = ("target", "naive", "tuned", "distance naive", "distance tuned")
    head = "".join(f'<th scope="col">{column}</th>' for column in ("dimension", *columns))
    out = [f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>"]
    for key, target in summary["target"].items():
        before, after = naive.get(key), summary["scores"].get(key)
        name = f"<strong>{escape(key)}</strong> {escape(names.get(key, ''))}"
        out.append(
            f"<tr><td>{name}</td><td>{format_score(target, digits)}</td>"
            f"<td>{format_score(before, digits)}</td>"
            f'<td class="tuned">{format_score(after, digits)}</td>'
            f"<td>{format_score(distance(before, target), digits)}</td>"
            f"<td>{format_score(distance(after, target), digits)}</td></tr>"
        )
    return "\n".join([*out, "</tbody>\n</table>"])


def _radar(summary: dict[str, Any], svg: str) -> str:
    """The figure of the scores."""
    ends = score_range(summary)
    marked = "The marked ring, where there is one, is 0."
    if ends is not None:
        marked = f"The marked rings are {ends[0]:g} and {ends[1]:g}; scores may lie outside."
    return (
        '<figure role="img" aria-label="Scores by dimension; the values are in the table above">\n'
        f"{inline_svg(svg, 'radar')}\n"
        f"<figcaption>Scores by dimension. {marked}</figcaption>\n</figure>\n"
    )


def _answers(svg: str) -> str:
    """The figure of the answer distributions."""
    return (
        '<figure role="img" aria-label="Answers by item; the values are in the table above">\n'
        f"{inline_svg(svg, 'answers')}\n<figcaption>Shares of the options in percent, in their "
        f"order. Of more than {MOST} items, those farthest from the target after tuning."
        "</figcaption>\n</figure>\n"
    )


def _files(svgs: dict[str, str]) -> str:
    """Links to the files beside the page."""
    tables = ["scores.csv", *(["answers.csv"] if "answers" in svgs else [])]
    drawn = [f"{stem}.{suffix}" for stem in svgs for suffix in ("png", "svg")]
    paths = [*tables, *drawn, *([_FRONT_TABLE] if "front" in svgs else [])]
    return ",\n".join(f'<a href="{path}">{path.removeprefix("../")}</a>' for path in paths)


def _front(front: Front, svg: str | None) -> str:
    """The figure of the front; the words alone where there is nothing to draw."""
    words = escape(explain_front(front))
    if svg is None:
        return f"<p>{words}</p>\n"
    return (
        '<figure role="img" aria-label="Objectives of the front; the values are in pareto.csv">\n'
        f"{inline_svg(svg, 'front')}\n<figcaption>{words}</figcaption>\n</figure>\n"
    )
