"""The report of an evaluation says what evaluation.json says, all of it, and opens alone."""

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_evaluation import HOSTILE, make_evaluation
from fake_run import NOTICE
from pages import cells_of_html, parse_page

from jaxalign.errors import UserError
from jaxalign.report.evidence import write_evaluation_report
from jaxalign.report.evidence.page import PARTS as SETS
from jaxalign.report.numbers import (
    format_difference,
    format_interval,
    format_loss,
    format_p,
    format_percent,
    format_score,
)

ALWAYS = {"index.html", "methods.csv", "scores.csv"} | {
    f"{stem}.{kind}" for stem in ("methods", "convergence", "radar") for kind in ("png", "svg")
}
PARTS = {  # part of evaluation.json: its files
    **{
        part: {f"{part}.csv", f"{part}.png", f"{part}.svg"}
        for part in ("robustness", "answers", "respondents", "countries")
    },
    "culturalbench": {"culturalbench.csv"},
    "side_effects": {"side_effects.csv"},
}
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def evaluated(workdir: Path) -> Path:
    """The workdir of a finished run that has been evaluated."""
    (workdir / "evaluation.json").write_text(json.dumps(make_evaluation()))
    return workdir


def change(workdir: Path, how: Change) -> dict[str, Any]:
    evaluation = make_evaluation()
    how(evaluation)
    (workdir / "evaluation.json").write_text(json.dumps(evaluation))
    return evaluation


def report(workdir: Path) -> Path:
    write_evaluation_report(workdir)
    return workdir / "report" / "index.html"


def cells_of(page: Path, section: str) -> set[str]:
    """What stands in the cells of a section's tables."""
    return cells_of_html(
        page.read_text().split(f'<section id="{section}">')[1].split("</section>")[0]
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def expected_cells(evaluation: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Section, and texts that its tables must have."""
    for method in evaluation["methods"]:
        scores = [format_score(score) for score in method["scores"].values()]
        intervals = [format_interval(method[key]) for key in ("interval", "spread")]
        yield "methods", [method["name"], format_loss(method["loss"]), *intervals, *scores]
        if difference := method["difference"]:
            interval = format_interval(difference["interval"], format_difference)
            yield "methods", [format_difference(difference["mean"]), interval]
    for persona in evaluation["personas"]:
        yield "methods", [persona["text"], format_loss(persona["loss"])]
    for row in evaluation["robustness"]["rows"]:
        losses = [format_loss(of_method["loss"]) for of_method in row["methods"].values()]
        yield "robustness", [row["name"], SETS[row["part"]], *losses]
    for row in evaluation["robustness"]["dimensions"]:
        yield "robustness", [row["dimension"], format_score(row["between_countries"])]
        for name in ("naive", "persona", "tuned"):
            spread = format_score(row[name]["spread"])
            mark = "† " if row[name]["spread"] > row["between_countries"] else ""
            yield "robustness", [mark + spread, f"mean {format_score(row[name]['mean'])}"]
    for name, summary in evaluation["robustness"]["summary"].items():
        difference = summary["difference"] if name != "tuned" else None
        lead = [format_difference(difference["mean"])] if difference else []
        seen, test, worst = (format_loss(summary[key]) for key in ("seen", "held_out", "worst"))
        interval = format_interval(summary["interval"])
        yield "robustness", [seen, test, interval, *lead, worst, summary["worst_name"]]
        yield "robustness", list(map(format_percent, summary["explained"].values()))
    for summary in evaluation["answers"]["methods"].values():
        shares = [format_percent(summary[key]) for key in ("collapsed", "off_scale")]
        yield "answers", [format_score(summary["entropy"], 2), *shares]
        counts = [str(summary[key]) for key in ("agree", "disagree", "refusal", "unparsed")]
        yield "answers", counts
    for item in evaluation["answers"]["items"]:
        means = [format_score(item[method]["mean"], 2) for method in ("naive", "tuned")]
        yield "answers", [item["id"], item["text"], item["naive"]["written"], *means]
    for method, of_it in evaluation["side_effects"]["methods"].items():
        numbers = [format_score(of_it[key], 2) for key in ("everyday", "factual")]
        yield "side_effects", [method, *numbers, format_percent(of_it["same_first"])]
    for row in evaluation["respondents"]:
        yield "respondents", [format_loss(row["loss"]), format_interval((row["low"], row["high"]))]
        for of_it in row["dimensions"].values():
            formula = f"({format_score(of_it['formula_sd'])})"
            yield "respondents", [format_score(of_it["sampling_sd"]), formula]
    for row in evaluation["countries"]["differences"]:
        yield "countries", [format_difference(row[key]) for key in ("target", "tuned")]
    for row in evaluation["countries"]["tau"]:
        yield "countries", [row["dimension"], format_score(row["tau"], 2), format_p(row["p"])]
    for level in ("easy", "hard"):
        for row in evaluation["culturalbench"][level]["rows"]:
            interval = format_interval((row["low"], row["high"]), format_percent)
            chance = format_percent(row["chance"], 2)
            share = format_percent(row["accuracy"])
            yield "culturalbench", [row["scope"], row["method"], share, interval, chance]
            if test := row["mcnemar"]:
                yield "culturalbench", [format_p(test["p"]), format_p(test["p_holm"])]


@pytest.mark.usefixtures("sketched")
def test_every_number_stands_in_a_table_of_its_section(evaluated: Path):
    page = report(evaluated)
    cells = {section: cells_of(page, section) for section in ("methods", *PARTS)}
    for section, texts in expected_cells(make_evaluation()):
        assert set(texts) <= cells[section], section


@pytest.mark.usefixtures("sketched")
def test_every_file_is_written_listed_and_nothing_else(evaluated: Path):
    page = report(evaluated)
    expected = ALWAYS.union(*PARTS.values())
    assert {path.name for path in page.parent.iterdir()} == expected
    parser = parse_page(page)
    assert {load for load in parser.loads if not load.startswith("#")} == expected - {"index.html"}


def test_the_page_opens_alone(evaluated: Path):
    page = report(evaluated)
    parser = parse_page(page)
    assert not parser.tags & {"script", "link", "img", "iframe", "object"}
    assert len(parser.ids) == len(set(parser.ids))
    assert {load[1:] for load in parser.loads if load.startswith("#")} <= set(parser.ids)
    for forbidden in ("url(http", "@import", "url(//", "$"):
        assert forbidden not in page.read_text()


@pytest.mark.usefixtures("sketched")
def test_the_verdict_stands_above_all_numbers_and_the_notice_above_it(evaluated: Path):
    text = parse_page(report(evaluated)).text
    verdict = make_evaluation()["verdict"]
    places = [text.index(part) for part in (NOTICE, *verdict, "Methods compared")]
    assert places == sorted(places)
    assert make_evaluation()["command"] in text


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("missing", ["null", "absent"])
def test_a_missing_part_leaves_no_section_and_no_file(workdir: Path, part: str, missing: str):
    change(workdir, lambda e: e.update({part: None}) if missing == "null" else e.pop(part))
    page = report(workdir)
    html = page.read_text()
    assert f'id="{part}"' not in html
    assert not {path.name for path in page.parent.iterdir()} & PARTS[part]
    assert all(f'id="{other}"' in html for other in PARTS if other != part)
    parse_page(page)


@pytest.mark.usefixtures("sketched")
def test_the_front_of_a_run_with_several_objectives_stays_on_the_page(evaluated: Path):
    (evaluated / "pareto.csv").write_text("prompt,survey,prompt_norm\n0,1.5,9\n1,3.5,4\n")
    page = report(evaluated)
    assert "2 prompts, numbered as in pareto.csv" in parse_page(page).text
    assert {"front.png", "front.svg"} <= {path.name for path in page.parent.iterdir()}


@pytest.mark.usefixtures("sketched")
def test_the_least_evaluation_is_reported_without_a_run(tmp_path: Path):
    evaluation = make_evaluation()
    for key in (*PARTS, "personas", "trie", "seconds", "notice", "git_revision", "versions"):
        del evaluation[key]
    evaluation["methods"] = [
        {"name": name, "group": "tuned", "loss": loss} for name, loss in (("tuned", 2.5),)
    ]
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation))
    page = report(tmp_path)
    names = {path.name for path in page.parent.iterdir()}
    assert names == ALWAYS - {"convergence.png", "convergence.svg"}
    html = page.read_text()
    assert "2.5" in cells_of(page, "methods")
    assert not re.search(r"<h[23]>[^<]*</h[23]>\s*(</section>|<h[23]>)", html)  # nothing below
    assert 'class="note"' not in html


def test_hostile_texts_are_text(workdir: Path):
    def poison(value: Any) -> Any:
        kept = ("l1", "option", "tuned", "naive", "embedded", *SETS)
        if isinstance(value, str) and value not in kept:
            return value + HOSTILE
        if isinstance(value, list):
            return [poison(each) for each in value]
        if isinstance(value, dict):
            return {key: poison(each) for key, each in value.items()}
        return value

    evaluation = change(workdir, lambda e: e.update(poison(e)))
    page = report(workdir)
    assert "script" not in parse_page(page).tags
    for svg in page.parent.glob("*.svg"):
        ElementTree.parse(svg)
    names = {row["method"] for row in rows_of(page.parent / "methods.csv")}
    cleaned = {method["name"].replace("\n", " ").replace("\x00", " ")
               for method in evaluation["methods"]}  # fmt: skip
    assert cleaned <= names


@pytest.mark.usefixtures("sketched")
def test_the_tables_beside_the_page_hold_every_digit(evaluated: Path):
    folder, evaluation = report(evaluated).parent, make_evaluation()
    methods = {row["method"]: row for row in rows_of(folder / "methods.csv")}
    for method in evaluation["methods"]:
        row = methods[method["name"]]
        assert float(row["loss"]) == method["loss"]
        assert all(float(row[key]) == score for key, score in method["scores"].items())
        assert row["notice"] == NOTICE
    losses = {(r["presentation"], r["method"]): r for r in rows_of(folder / "robustness.csv")}
    for row in evaluation["robustness"]["rows"]:
        for name, result in row["methods"].items():
            assert float(losses[row["name"], name]["loss"]) == result["loss"]
            assert losses[row["name"], name]["set"] == row["part"]
            assert losses[row["name"], name]["order"] == row["levels"]["order"]
    shares = [float(row["share"]) for row in rows_of(folder / "answers.csv")]
    assert shares == [
        share
        for item in evaluation["answers"]["items"]
        for method in ("naive", "tuned")
        for share in item[method]["shares"]
    ]
    matrix = [float(row["value"]) for row in rows_of(folder / "countries.csv")[:16]]
    assert matrix == [loss for row in evaluation["countries"]["matrix"] for loss in row]


@pytest.mark.usefixtures("sketched")
def test_words_that_promise_stand_only_where_their_numbers_do(workdir: Path):
    change(workdir, lambda _: None)
    html = report(workdir).read_text()
    before, rest = html.split('<section id="culturalbench">')
    inside, after = rest.split("</section>", 1)
    assert "accuracy" in inside
    for word in ("accuracy", "accurate", "significan", "aligned"):
        assert word not in before.lower() and word not in after.lower()


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        (lambda e: e.update(schema=1), "schema is not 2"),
        (lambda e: e.pop("methods"), "methods"),
        (lambda e: e["methods"][3].update(loss="low"), r"methods\[3\]\.loss"),
        (lambda e: e["methods"][1].update(interval=[1]), r"methods\[1\]\.interval"),
        (lambda e: e["methods"][0].pop("name"), r"name.*methods\[0\]"),
        (lambda e: e["survey"].update(items=True), r"survey\.items"),
        (lambda e: e.update(verdict="won"), r"\$\.verdict"),
        (lambda e: e.update(robustness=[]), r"\$\.robustness"),
        (lambda e: e["answers"]["items"][2]["tuned"]["shares"].pop(), r"answers\.items\[2\]"),
        (lambda e: e["countries"]["matrix"].pop(), "matrix must have 4 rows"),
        (lambda e: e["countries"]["naive"].pop(), "naive must have 4 losses"),
        (lambda e: e.update(target={}), "target"),
        (lambda e: e["target"].update(PDI=float("nan")), "not JSON"),
    ],
)
def test_a_malformed_evaluation_is_one_line_and_writes_nothing(
    workdir: Path, how: Change, fault: str
):
    change(workdir, how)
    with pytest.raises(UserError, match=fault) as error:
        write_evaluation_report(workdir)
    assert "evaluation.json" in str(error.value) and "\n" not in str(error.value)
    assert not (workdir / "report").exists()


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_no_evaluation_is_one_line(workdir: Path, content: str | None):
    if content is not None:
        (workdir / "evaluation.json").write_text(content)
    with pytest.raises(UserError, match=r"evaluation\.json") as error:
        write_evaluation_report(workdir)
    assert "\n" not in str(error.value)
    assert content is not None or "jaxalign.evaluate" in str(error.value)


@pytest.mark.usefixtures("sketched")
def test_the_methods_paragraph_follows_the_settings_and_cites_what_was_used(workdir: Path):
    text = parse_page(report_of(workdir, lambda _: None)).text
    assert "DifferentialEvolution" in text and "C = 50" in text and "L1 distance" in text
    assert "Toy questions" in text and "2410.02677" not in text
    assert "Using Soft Prompt Tuning" in text and "Values Survey Module 2013 Manual" in text

    def other(evaluation: dict[str, Any]) -> None:
        evaluation["survey"].update(name="mine", title="Mine", constant=[10.0, 20.0], norm="l2")
        evaluation["culturalbench"].update(fixture=False, source="hub/bench@abc")

    text = parse_page(report_of(workdir, other)).text
    assert "C = 10 and 20" in text and "L2 distance" in text
    assert "hub/bench@abc" in text and "2410.02677" in text
    assert "Toy questions" not in text and "Values Survey Module 2013 Manual" not in text


def report_of(workdir: Path, how: Change) -> Path:
    change(workdir, how)
    return report(workdir)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (format_difference(-3.14), "\N{MINUS SIGN}3.1"),
        (format_difference(0.0123), "+0.012"),
        (format_difference(0.0), "0.0"),
        (format_difference(None), "–"),
        (format_percent(0.0625, 2), "6.25%"),
        (format_percent(float("nan")), "–"),
        (format_p(0.0004), "<0.001"),
        (format_p(0.05), "0.050"),
        (format_interval((-2.0, 3.0), format_score), "\N{MINUS SIGN}2.0 to 3.0"),
        (format_interval(None), "–"),
        (format_score(-0.5, 2), "\N{MINUS SIGN}0.50"),
    ],
)
def test_numbers_are_written_alike(text: str, expected: str):
    assert text == expected
