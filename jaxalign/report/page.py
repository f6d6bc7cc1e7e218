"""The report of a workdir: tables, plots, and one page that opens without a network."""

from pathlib import Path
from typing import Any

from jaxalign.files import ParetoTable, RunFiles, read_pareto, read_run, write_csv
from jaxalign.report.answers import read_answers
from jaxalign.report.answers_plot import MOST, plot_distributions
from jaxalign.report.convergence_plot import plot_convergence
from jaxalign.report.drawing import Sheet
from jaxalign.report.numbers import baseline_name, country_name, distance, score_digits
from jaxalign.report.pages import write_run_page
from jaxalign.report.pareto_plot import in_order, plot_pareto
from jaxalign.report.radar_plot import VSM13_RANGE, plot_radar


def write_report(workdir: Path) -> Path:
    """Write report/ from the files of a finished run and return the page's path.

    Every file is written under a temporary name and then renamed, the page last.

    Raises:
        UserError: a file of the workdir is missing or damaged, or the folder cannot be written.
    """
    run, pareto = read_run(workdir), read_pareto(workdir)
    folder, summary = workdir / "report", run.summary
    notice = summary.get("notice")
    files = write_search(run, pareto, folder)
    items = read_answers(summary)
    name, ends = country_name(summary), summary.get("score_range", VSM13_RANGE)  # may be missing
    if items:
        columns = ["item", "measure", "constant", "naive", "tuned", "constant_means", "notice"]
        rows = [
            [item.id, item.measure, *map(item.distance.get, ("constant", "naive", "best")),
             baseline_name(summary), notice]
            for item in items
        ]  # fmt: skip
        write_csv(folder / "answers.csv", columns, rows)
        plot_distributions(items, Sheet(folder / "answers", f"Answers: {name}", notice))
        files += ["answers.csv", "answers.png", "answers.svg"]
    else:
        scores = {"target": summary["target"], "naive": summary.get("naive_scores")}
        scores = {label: of_label for label, of_label in scores.items() if of_label}
        sheet = Sheet(folder / "radar", f"Scores: {name}", notice)
        plot_radar(scores | {"tuned": summary["scores"]}, sheet, ends)
        files += ["radar.png", "radar.svg"]
    page = folder / "index.html"
    write_run_page(
        page,
        "page.html",
        run,
        items=items,
        most=MOST,
        digits=score_digits(summary),
        score_range=ends,
        pareto=pareto,
        objectives=in_order(pareto.names) if pareto else [],
        files=files + (["../pareto.csv"] if pareto is not None and pareto.values else []),
        evaluated=False,
    )
    return page


def write_search(run: RunFiles, pareto: ParetoTable | None, folder: Path) -> list[str]:
    """Write scores.csv and the plots of the search; return the names of the files."""
    summary, notice = run.summary, run.summary.get("notice")
    write_csv(
        folder / "scores.csv",
        ["dimension", "target", "naive", "tuned", "distance_naive", "distance_tuned", "notice"],
        _score_rows(summary),
    )
    stems = []
    if run.records:
        losses = {"naive": summary["loss"].get("naive")}
        losses[baseline_name(summary)] = summary["loss"].get("constant")
        title = f"Convergence: {country_name(summary)}"
        plot_convergence(run.records, losses, Sheet(folder / "convergence", title, notice))
        stems.append("convergence")
    if pareto is not None and pareto.values:
        sheet = Sheet(folder / "front", f"Objectives: {country_name(summary)}", notice)
        plot_pareto(pareto, summary.get("terms", {}), sheet)
        stems.append("front")
    return ["scores.csv", *(f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg"))]


def _score_rows(summary: dict[str, Any]) -> list[list[Any]]:
    naive = summary.get("naive_scores") or {}
    rows = []
    for key, target in summary["target"].items():
        before, after = naive.get(key), summary["scores"].get(key)
        distances = distance(before, target), distance(after, target)
        rows.append([key, target, before, after, *distances, summary.get("notice")])
    return rows
