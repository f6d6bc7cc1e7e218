"""Several evaluated runs on one page, and what the terminal says of one."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_evaluation import COUNTRIES, HOSTILE, make_evaluation
from fake_run import NOTICE
from pages import cells_of_html, parse_page
from rich.console import Console

from jaxalign.errors import UserError
from jaxalign.report.evidence import print_evaluation, write_comparison_report
from jaxalign.report.evidence.record import Evaluation
from jaxalign.report.numbers import MISSING, format_interval, format_loss, format_percent


def write(folder: Path, evaluation: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    return folder


def compared(output: Path) -> list[dict[str, str]]:
    with (output / "comparison.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_every_country_with_naive_best_in_context_and_tuned(tmp_path: Path):
    one = write(tmp_path / "one", make_evaluation("SA"))
    two = make_evaluation("CN")
    two["methods"][5]["loss"] = 3.25  # now the 4 answers are the best in-context text
    several = tmp_path / "several"
    write(several / "countries" / "CN", two)
    write(several / "countries" / "US", make_evaluation("US"))
    write_comparison_report([one, several], tmp_path / "out")
    page = tmp_path / "out" / "index.html"
    assert {path.name for path in page.parent.iterdir()} == {"index.html", "comparison.csv"}
    cells = cells_of_html(page.read_text())
    names = {"one, embedded", "several/CN, embedded", "several/US, embedded"}
    assert names | {COUNTRIES[code] for code in ("SA", "CN", "US")} <= cells
    interval = format_interval(two["methods"][5]["interval"])
    assert {format_loss(3.25), f"{interval}, 4 answers"} <= cells
    assert format_loss(72.6) not in cells  # of the texts that are not the best
    for row in make_evaluation("SA")["culturalbench"]["hard"]["rows"]:
        shown = row["scope"] in ("overall", "Saudi Arabia")
        assert (format_percent(row["accuracy"]) in cells) or not shown
    losses = {(row["run"], row["method"]): row for row in compared(page.parent)
              if row["measure"] == "loss"}  # fmt: skip
    assert len(losses) == 9
    assert float(losses["several/CN", "in-context"]["value"]) == 3.25
    assert losses["several/CN", "in-context"]["variant"] == "in-context, 4 answers"
    assert {row["notice"] for row in compared(page.parent)} == {NOTICE}


def test_what_is_missing_is_a_dash_and_what_no_run_has_is_left_out(tmp_path: Path):
    evaluation = make_evaluation() | {"culturalbench": None, "notice": None}
    evaluation["methods"] = evaluation["methods"][:2]
    run = write(tmp_path / "run", evaluation)
    write_comparison_report([run], tmp_path / "out")
    html = (tmp_path / "out" / "index.html").read_text()
    assert MISSING in cells_of_html(html)
    assert "CulturalBench, " not in html and "accuracy" not in html
    assert 'class="note"' not in html and "toy" not in html
    write_comparison_report([run, write(tmp_path / "more", make_evaluation())], tmp_path / "out")
    html = (tmp_path / "out" / "index.html").read_text()
    assert html.count(f"<td>{MISSING}</td>") > 4 and "toy questions" in html


def test_the_page_of_several_opens_alone_and_is_the_same_again(tmp_path: Path):
    evaluation = make_evaluation()
    evaluation["verdict"] = [HOSTILE]
    evaluation["country_name"] = HOSTILE
    run = write(tmp_path / "run", evaluation)
    write_comparison_report([run, run], tmp_path / "out")
    page = tmp_path / "out" / "index.html"
    parser = parse_page(page)
    assert not parser.tags & {"script", "link", "img", "iframe", "object"}
    assert parser.loads == ["comparison.csv"]
    before = page.read_bytes()
    write_comparison_report([run, run], tmp_path / "out")
    assert page.read_bytes() == before


def test_a_folder_that_was_not_evaluated_is_one_line(tmp_path: Path):
    (tmp_path / "run").mkdir()
    good = write(tmp_path / "good", make_evaluation())
    with pytest.raises(UserError, match=r"evaluation\.json") as error:
        write_comparison_report([good, tmp_path / "run"], tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="--compare"):
        write_comparison_report([], tmp_path / "out")


def printed(evaluation: dict[str, Any], width: int = 80) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    files = [("runs/sa/report/index.html", "the report")]
    print_evaluation(msgspec.convert(evaluation, Evaluation), files, console=console)
    return out.getvalue()


def test_the_terminal_has_the_verdict_the_tables_and_the_files_in_80_columns():
    evaluation = make_evaluation()
    text = printed(evaluation)
    assert all(len(line) <= 80 for line in text.splitlines()) and "\x1b" not in text
    flat = " ".join(text.split())
    for sentence in evaluation["verdict"]:
        assert sentence in flat
    for method in evaluation["methods"]:
        assert format_loss(method["loss"]) in flat
        assert format_interval(method["interval"]) in flat
    for summary in evaluation["robustness"]["summary"].values():
        assert format_loss(summary["held_out"]) in flat
    for row in evaluation["culturalbench"]["hard"]["rows"]:
        assert f"{row['scope']}, {row['method']}" in flat
        assert format_percent(row["accuracy"]) in flat
    assert NOTICE in flat and "runs/sa/report/index.html the report" in flat


def test_the_terminal_leaves_out_what_is_missing_and_reads_no_markup():
    evaluation = make_evaluation()
    for part in ("robustness", "culturalbench", "notice"):
        del evaluation[part]
    evaluation["methods"] = [{"name": "[bold]tuned[/bold]", "group": "tuned", "loss": None}]
    text = printed(evaluation)
    assert "[bold]tuned[/bold]" in text and MISSING in text
    for word in ("CulturalBench,", "tuned on", "accuracy", "Note"):
        assert word not in text
