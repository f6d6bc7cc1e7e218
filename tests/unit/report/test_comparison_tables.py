"""Tables of a comparison, by hand."""

import csv
import io
from pathlib import Path

import pytest
from comparison_runs import BUDGET, make_run, three_methods
from rich.console import Console

from jaxalign.report.comparison import (
    Run,
    print_comparison,
    render_markdown,
    summarise,
    write_summary_csv,
)


@pytest.fixture
def runs() -> list[Run]:
    return three_methods()


def test_the_markdown_table_by_hand(runs: list[Run]):
    assert render_markdown(summarise(runs, BUDGET), BUDGET).splitlines() == [
        "| rank | method | kind | SA | CN | share of naive | to 1/2 | to 1/10 | area "
        "| forward passes | runs |",
        "| ---: | :--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| 1 | Adam | gradient | 8.0 (8.0 to 8.0) | 4.0 (4.0 to 4.0) | 7.5% | 20 | 40 | 0.345 "
        "| 10,000 | 2 |",
        "| 2 | DE\\|x | ours | 12.0 (10.0 to 14.0) | 24.0 (24.0 to 24.0) | 20.0% | 40 "
        "| >100 [1/3] | 0.470 | 100 | 3 |",
        "| 3 | broken | outside | – | – | – | >100 [0/1] | >100 [0/1] | 1.000 | 100 | 1 |",
    ]


def printed(runs: list[Run], width: int = 80) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    print_comparison(summarise(runs, BUDGET), BUDGET, console=console)
    return out.getvalue()


def test_the_terminal_shows_the_medians(runs: list[Run]):
    text = printed(runs)
    rows = {line.split()[1]: line.split()[2:] for line in text.splitlines()
            if line.split()[:1] in (["1"], ["2"], ["3"])}  # fmt: skip
    assert rows["Adam"] == ["8.0", "4.0", "7.5%", "20", "40", "2"]
    assert rows["DE|x"] == ["12.0", "24.0", "20.0%", "40", ">100", "3"]
    assert rows["broken"] == ["–", "–", "–", ">100", ">100", "1"]
    assert "Adam: cost 10,000 forward passes a run, not 100" in text
    assert "DE|x: cost" not in text


def test_four_countries_fit_into_80_columns():
    runs = [
        make_run(1234.5, method="a method [bold] of many words", country=country, naive_loss=2e3)
        for country in ("SA", "CN", "IN", "US")
    ]
    text = printed(runs)
    assert text.count("1,234.5") == 4
    assert "[bold]" in text
    assert "…" not in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_the_summary_csv_holds_every_number(tmp_path: Path, runs: list[Run]):
    summaries = summarise(runs, BUDGET)
    write_summary_csv(tmp_path / "summary.csv", summaries)
    with (tmp_path / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["country"] for row in rows] == ["all", "SA", "CN", "all", "SA", "CN", "all", "SA"]
    assert [float(row["loss_q25"]) for row in rows[:6]] == [s.loss.low for s in summaries[:6]]
    assert [float(row["area"]) for row in rows] == [line.area for line in summaries]
    overall = rows[3]
    assert (overall["method"], overall["half_evaluations"]) == ("DE|x", "40.0")
    assert (overall["tenth_evaluations"], overall["tenth_reached"]) == ("", "1")
    assert rows[6]["loss_median"] == "inf"
