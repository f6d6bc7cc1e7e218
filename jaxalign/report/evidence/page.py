"""The report of an evaluation: one page over all evidence, its tables and its plots."""

import dataclasses
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jaxalign.files import Front, RunFiles, read_front, read_run, write_file
from jaxalign.report import plots
from jaxalign.report.evidence.across import write_countries
from jaxalign.report.evidence.answers import write_answers
from jaxalign.report.evidence.culturalbench import write_culturalbench
from jaxalign.report.evidence.methods import write_methods
from jaxalign.report.evidence.prose import methods_text, references
from jaxalign.report.evidence.respondents import write_respondents
from jaxalign.report.evidence.robustness import write_robustness
from jaxalign.report.evidence.schema import FILE, read_evaluation
from jaxalign.report.evidence.section import Section, drawn, figure, html_table, render
from jaxalign.report.front_plot import explain_front, plot_front
from jaxalign.report.meaning import explain
from jaxalign.report.numbers import baseline_name, format_decimals, format_seconds
from jaxalign.report.page import scores_csv
from jaxalign.report.parts import country_name, fill

_RADAR = {"naive": "naive", "persona (median)": "persona", "tuned": "tuned"}
_SECTIONS = (  # what may be on the page, after the plots that every run has
    write_robustness,
    write_answers,
    write_respondents,
    write_countries,
    write_culturalbench,
)


def write_evaluation_report(workdir: Path) -> None:
    """Writes report/ from evaluation.json and the files of the run, in place of the run's page.

    A folder without summary.json, in which a bare soft prompt was evaluated, has no search to show.
    Every file is written under a temporary name and then renamed, the page last.

    Raises:
        UserError: a file of the workdir is missing or damaged, or the folder cannot be written.
    """
    workdir = Path(workdir)
    evaluation = read_evaluation(workdir)
    run = read_run(workdir) if (workdir / "summary.json").exists() else _without_run(evaluation)
    folder = workdir / "report"
    notice = evaluation["notice"] or run.summary.get("notice")
    run = dataclasses.replace(run, summary=run.summary | {"notice": notice})
    sections = [
        write_methods(evaluation, folder),
        _write_run(run, read_front(workdir), evaluation, folder),
    ]
    sections += [write(evaluation, folder) for write in _SECTIONS]
    write_file(folder / "index.html", _render(run, evaluation, sections).encode())


def _write_run(
    run: RunFiles, front: Front | None, evaluation: dict[str, Any], folder: Path
) -> Section:
    """Writes the table of the scores, convergence, radar and front; returns their section."""
    name, notice = country_name(evaluation), evaluation["notice"]
    write_file(folder / "scores.csv", scores_csv(run.summary).encode())
    files, convergence = ["scores.csv"], ""
    if run.records:
        loss, stem = run.summary["loss"], folder / "convergence"
        losses = {"naive": loss.get("naive"), baseline_name(run.summary): loss.get("constant")}
        plots.plot_convergence(run.records, losses, f"Convergence: {name}", notice, stem)
        label = "Loss over evaluations; the values are in metrics.jsonl"
        caption = "Best loss so far and mean of each generation."
        convergence = figure(folder, "convergence", label, caption, least=0)
        files += drawn("convergence")
    scores = {each["name"]: each["scores"] for each in evaluation["methods"] if each["scores"]}
    shown = {"target": evaluation["target"]}
    shown |= {label: scores[name] for name, label in _RADAR.items() if name in scores}
    plots.plot_radar(shown, f"Scores: {name}", notice, folder / "radar")
    radar = figure(
        folder, "radar", "Scores by dimension; the values are in the table of the methods",
        "Scores by dimension. The marked rings are 0 and 100; scores may lie outside.",
        least=0,
    )  # fmt: skip
    files += drawn("radar")
    objectives = ""
    if front is not None and front.values:
        terms = run.summary.get("terms", {})
        plot_front(front, terms, f"Objectives: {name}", notice, folder / "front")
        label = "Objectives of the front; the values are in pareto.csv"
        objectives = figure(folder, "front", label, escape(explain_front(front)), least=0)
        files += drawn("front")
    html = render("run", convergence=convergence, radar=radar, front=objectives)
    return Section(html, tuple(files))


def _render(run: RunFiles, evaluation: dict[str, Any], sections: list[Section]) -> str:
    files = [name for section in sections for name in section.files]
    cited = "".join(f"<li>{escape(source)}</li>\n" for source in references(evaluation))
    command = evaluation["command"]
    return fill(
        "evidence/page.html",
        run,
        f"{country_name(evaluation)}: a soft prompt, put to the test",
        verdict="\n".join(f"<p>{escape(sentence)}</p>" for sentence in evaluation["verdict"]),
        subject=html_table(["", ""], _subject(evaluation), kind="subject"),
        sections="\n".join(section.html for section in sections if section.html),
        text=escape(methods_text(run, evaluation)),
        references=cited,
        limits=explain(run.summary, evaluated=True),
        evaluated=f"<pre><code>{escape(command)}</code></pre>\n" if command else "",
        file=FILE,
        files=",\n".join(f'<a href="{quote(name)}">{escape(name)}</a>' for name in files),
    )


def _subject(evaluation: dict[str, Any]) -> list[list[str]]:
    """What was evaluated, on what, and with what: rows of a name and a value."""
    survey, formats, trie = evaluation["survey"], evaluation["formats"], evaluation["trie"]
    wording = "validated wording" if survey["validated"] else "wording not validated"
    source = f"; {survey['target_source']}" if survey["target_source"] else ""
    rows = [
        ["model", evaluation["model"]],
        ["survey", f"{survey['title']}: {survey['items']} items, {wording}"],
        ["published scores", f"{country_name(evaluation)}{source}"],
        ["tuned in the formats", ", ".join(formats["seen"])],
        ["held out", f"{len(formats['held_out'])} formats"],
    ]
    if trie:
        saving = format_decimals(trie["saving"], 1)
        text = f"{trie['tokens']:,} tokens for {trie['formats']:,} formats"
        rows.append(["token trie", f"{text}, {saving} times fewer than a padded batch"])
    if bench := evaluation["culturalbench"]:
        rows.append(["CulturalBench", f"{bench['source']}{' (toy)' if bench['fixture'] else ''}"])
    seconds = [value for value in (evaluation["seconds"] or {}).values() if value is not None]
    took = f" in {format_seconds(sum(seconds))}" if seconds else ""
    rows.append(
        ["evaluated", f"{evaluation['date'] or ''}{took} on {evaluation['hardware'] or '?'}"]
    )
    return rows


def _without_run(evaluation: dict[str, Any]) -> RunFiles:
    """What a run would have left, as far as an evaluation tells."""
    losses = {each["name"]: each["loss"] for each in evaluation["methods"]}
    scores = {each["name"]: each["scores"] or {} for each in evaluation["methods"]}
    survey = evaluation["survey"]
    summary = {key: evaluation[key] for key in ("country", "country_name", "model", "notice")}
    summary |= {
        "loss": {
            "constant": losses.get("constant answer"),
            "naive": losses.get("naive"),
            "best": losses.get("tuned"),
        },
        "scores": scores.get("tuned", {}),
        "naive_scores": scores.get("naive", {}),
        "target": evaluation["target"],
        "norm": survey["norm"],
    }
    config = {
        "country": evaluation["country"],
        "model": {"path": evaluation["model"]},
        "survey": {key: survey[key] for key in ("targets", "constant") if survey[key]},
        "objective": {"norm": survey["norm"], "formats": evaluation["formats"]["seen"]},
    }
    return RunFiles({"config": config, "versions": evaluation["versions"] or {}}, (), summary)
