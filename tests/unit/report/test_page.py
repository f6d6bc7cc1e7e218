"""The report says what the workdir's files say, and opens alone."""

import csv
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from pages import parse_page

from jaxalign.errors import UserError
from jaxalign.report.page import write_report

FILES = {
    "scores.csv",
    "convergence.png",
    "convergence.svg",
    "radar.png",
    "radar.svg",
    "index.html",
}


@pytest.mark.usefixtures("sketched")
def test_every_file_is_written_and_nothing_else(workdir: Path):
    page = write_report(workdir)
    assert page == workdir / "report" / "index.html"
    assert {path.name for path in page.parent.iterdir()} == FILES


@pytest.mark.usefixtures("sketched")
def test_csv_holds_every_digit_of_the_summary(workdir: Path, summary: dict):
    write_report(workdir)
    with (workdir / "report" / "scores.csv").open(newline="") as file:
        rows = {row["dimension"]: row for row in csv.DictReader(file)}
    assert list(rows) == list(summary["target"])
    for key, row in rows.items():
        assert float(row["target"]) == summary["target"][key]
        assert float(row["naive"]) == summary["naive_scores"][key]
        assert float(row["tuned"]) == summary["scores"][key]
        assert float(row["distance_tuned"]) == abs(summary["scores"][key] - summary["target"][key])


@pytest.mark.usefixtures("sketched")
def test_page_says_the_notice_the_losses_the_scores_and_the_command(workdir: Path, summary: dict):
    text = parse_page(write_report(workdir)).text
    assert summary["notice"] in text
    assert "108.0" in text
    assert "126.0" in text
    assert "112.3" in text
    assert "\N{MINUS SIGN}20.5" in text
    assert "--config=sa.py:embedded --note='<b>&'" in text  # escaped in the page, and read back
    assert "elitism = True" in text
    assert "(here 50)" in text


@pytest.mark.usefixtures("sketched")
def test_no_notice_no_naive_scores_and_other_dimensions(workdir: Path, summary: dict):
    summary |= {"notice": None, "naive_scores": None, "scores": {"A": 3.5}, "target": {"A": 4}}
    summary["loss"]["naive"] = None
    (workdir / "summary.json").write_text(json.dumps(summary))
    page = write_report(workdir)
    assert "note" not in {tag for tag in parse_page(page).tags}
    assert 'class="note"' not in page.read_text()
    assert (page.parent / "scores.csv").read_text().splitlines()[1] == "A,4,,3.5,,0.5,"


def test_a_model_on_this_machine_is_called_by_its_own_name(workdir: Path, summary: dict):
    (workdir / "summary.json").write_text(json.dumps(summary | {"model": "/models/of/ours/"}))
    write_report(workdir)
    title = (workdir / "report" / "index.html").read_text().partition("</title>")[0]
    assert title.split()[-1] == "ours"


def test_the_page_opens_alone(workdir: Path):
    page = write_report(workdir)
    parser = parse_page(page)
    assert not parser.tags & {"script", "link", "img", "iframe", "object"}
    for load in parser.loads:
        assert load.startswith("#") or (page.parent / load).is_file(), load
    for forbidden in ("url(http", "@import", "url(//"):
        assert forbidden not in page.read_text()
    assert len(parser.ids) == len(set(parser.ids))
    assert {load[1:] for load in parser.loads if load.startswith("#")} <= set(parser.ids)
    for name in ("convergence.svg", "radar.svg"):
        root = ElementTree.parse(page.parent / name).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_two_reports_are_equal_byte_for_byte(workdir: Path):
    folder = write_report(workdir).parent
    first = {name: (folder / name).read_bytes() for name in FILES}
    write_report(workdir)
    assert {name: (folder / name).read_bytes() for name in FILES} == first


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "summary.json"])
def test_a_missing_file_is_named_in_one_line(workdir: Path, name: str):
    (workdir / name).unlink()
    with pytest.raises(UserError, match=name) as error:
        write_report(workdir)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("summary.json", "{", "is not JSON"),
        ("summary.json", "[]", "is not a JSON object"),
        ("summary.json", '{"country": "SA", "loss": {}, "scores": {}}', "'target' is missing"),
        ("summary.json", b"\xff\xfe", "cannot be read"),
        ("metrics.jsonl", "", "holds no generation"),
        ("metrics.jsonl", '{"evaluations": 8, "best_loss": 1.0}\n{"evalu', "line 2"),
        ("metrics.jsonl", '{"generation": 0}', "line 1"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(
    workdir: Path, name: str, content: str | bytes, fault: str
):
    raw = content if isinstance(content, bytes) else content.encode()
    (workdir / name).write_bytes(raw)
    with pytest.raises(UserError, match=fault) as error:
        write_report(workdir)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_that_cannot_be_written_is_the_users_to_mend(workdir: Path):
    (workdir / "report").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot be written"):
        write_report(workdir)
