"""The page of several countries says what summary.json says, and leads to each country's own."""

import csv
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from fake_run import NOTICE, make_record
from figures import assert_readable
from matplotlib.figure import Figure
from pages import parse_page

from jaxalign.errors import UserError
from jaxalign.report import drawing
from jaxalign.report.convergence_plot import FEW, plot_countries
from jaxalign.report.countries import write_countries_report
from jaxalign.report.drawing import Sheet
from jaxalign.report.numbers import MISSING, format_loss

FILES = {"losses.csv", "convergence.png", "convergence.svg", "index.html"}
NAMES = {"SA": "Saudi Arabia", "CN": "China", "T&T": "Trinidad & Tobago", "C 1": "<of our own>"}


def make_run(count: int, generations: int = 6) -> tuple[list[dict], dict[str, dict]]:
    """Records and countries: the loss of country i begins at 100 + i and shrinks the faster."""
    codes = [*NAMES, *(f"X{index}" for index in range(len(NAMES), count))][:count]
    records = [
        {key: value for key, value in make_record(generation).items() if key != "best_loss"}
        | {
            "best_loss": 1.0,
            "countries": {
                code: {"best_loss": (100 + index) * (0.9 - 0.5 * index / count) ** generation}
                for index, code in enumerate(codes)
            },
        }
        for generation in range(generations)
    ]
    last = records[-1]["countries"]
    countries = {
        code: {
            "country": code,
            "country_name": NAMES.get(code, f"Country {code}"),
            "loss": {
                "constant": 80.0 + index / 3,
                "naive": 110.0 + index / 7,
                "best": last[code]["best_loss"],
            },
        }
        for index, code in enumerate(codes)
    }
    return records, countries


@pytest.fixture
def several(workdir: Path, summary: dict) -> Path:
    """The workdir of a run for four countries, with a page for each."""
    records, countries = make_run(4)
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in records))
    loss = {
        kind: float(np.mean([country["loss"][kind] for country in countries.values()]))
        for kind in ("constant", "naive", "best")
    }
    together = {key: value for key, value in summary.items() if key not in ("scores", "target")}
    together |= {"country": list(countries), "loss": loss, "countries": countries}
    (workdir / "summary.json").write_text(json.dumps(together))
    for code in countries:
        page = workdir / "countries" / code / "report" / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text(code)
    return workdir


def countries_of(workdir: Path) -> dict[str, dict]:
    return json.loads((workdir / "summary.json").read_text())["countries"]


def rewrite(workdir: Path, change) -> None:
    summary = json.loads((workdir / "summary.json").read_text())
    change(summary)
    (workdir / "summary.json").write_text(json.dumps(summary))


def table_of(page: Path) -> list[list[str]]:
    """The cells of the first table's rows, as written."""
    table = page.read_text().split("<tbody>")[1].split("</tbody>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table)
    return [[re.sub("<.*?>", "", cell) for cell in re.findall("<td.*?</td>", row)] for row in rows]


def test_every_file_is_written_and_nothing_else(several: Path):
    page = write_countries_report(several)
    assert page == several / "report" / "index.html"
    assert {path.name for path in page.parent.iterdir()} == FILES
    ElementTree.parse(page.parent / "convergence.svg")


def test_the_page_leads_to_each_country_and_loads_nothing_from_outside(several: Path):
    page = write_countries_report(several)
    parser = parse_page(page)
    assert not parser.tags & {"script", "link", "img", "iframe", "object"}
    assert len(parser.ids) == len(set(parser.ids))
    inside = {load[1:] for load in parser.loads if load.startswith("#")}
    assert inside <= set(parser.ids)
    links = [load for load in parser.loads if not load.startswith("#")]
    pages = [load for load in links if load.startswith("../countries/")]
    assert pages == [
        f"../countries/{quoted}/report/index.html" for quoted in ("SA", "CN", "T%26T", "C%201")
    ]
    assert [(page.parent / unquote(load)).read_text() for load in pages] == list(NAMES)
    assert {load for load in links if load not in pages} == FILES - {"index.html"}


@pytest.mark.usefixtures("sketched")
def test_the_table_has_the_numbers_of_the_summary(several: Path):
    rows = table_of(write_countries_report(several))
    expected = []
    for country in countries_of(several).values():
        name = country["country_name"].replace("&", "&amp;")
        loss = country["loss"]
        cells = [format_loss(loss[kind]) for kind in ("constant", "naive", "best")]
        name = name.replace("<", "&lt;").replace(">", "&gt;")
        expected.append([name, *cells, f"{100 * loss['best'] / loss['naive']:.0f}%"])
    assert rows == expected


@pytest.mark.usefixtures("sketched")
def test_the_lead_and_the_means_are_those_of_the_summary(several: Path):
    summary = json.loads((several / "summary.json").read_text())
    text = parse_page(write_countries_report(several)).text
    assert "4 countries" in text
    assert "DifferentialEvolution · 40 generations · 328 evaluations in all · 1:01 on 2 CPU" in text
    for kind in ("constant", "naive", "best"):
        assert format_loss(summary["loss"][kind]) in text
    assert "mean tuned loss (L1)" in text
    assert "--note='<b>&'" in text


@pytest.mark.usefixtures("sketched")
def test_the_csv_holds_every_digit_of_the_summary(several: Path):
    write_countries_report(several)
    with (several / "report" / "losses.csv").open(newline="") as file:
        rows = {row["country"]: row for row in csv.DictReader(file)}
    countries = countries_of(several)
    assert list(rows) == list(countries)
    for code, row in rows.items():
        loss = countries[code]["loss"]
        assert row["name"] == countries[code]["country_name"]
        found = tuple(float(row[name]) for name in ("constant", "naive", "tuned"))
        assert found == (loss["constant"], loss["naive"], loss["best"])
        assert float(row["tuned_share_of_naive"]) == loss["best"] / loss["naive"]


def test_the_notice_stands_on_page_plot_and_table(several: Path):
    page = write_countries_report(several)
    assert f'<p class="note" role="note">{NOTICE}</p>' in page.read_text()
    assert NOTICE in (page.parent / "convergence.svg").read_text()
    lines = (page.parent / "losses.csv").read_text().splitlines()[1:]
    assert len(lines) == 4 and all(line.endswith(f",{NOTICE}") for line in lines)


@pytest.mark.usefixtures("sketched")
def test_no_notice_and_losses_that_are_missing(several: Path):
    def change(summary: dict) -> None:
        summary["notice"] = None
        summary["loss"]["best"] = None
        summary["countries"]["SA"]["loss"]["best"] = None
        summary["countries"]["CN"]["loss"]["naive"] = 0.0

    rewrite(several, change)
    page = write_countries_report(several)
    assert 'class="note"' not in page.read_text()
    saudi, china, *_ = table_of(page)
    assert saudi[3:] == [MISSING, MISSING]
    assert china[2] == "0.0" and china[4] == MISSING
    saudi = (page.parent / "losses.csv").read_text().splitlines()[1]
    assert saudi == "SA,Saudi Arabia,80.0,110.0,,,"


@pytest.mark.usefixtures("sketched")
def test_only_fresh_respondents_are_told_apart_from_the_lines(several: Path):
    assert "fresh respondents" not in write_countries_report(several).read_text()
    rewrite(several, lambda summary: summary["countries"]["CN"].update(rescored={"draws": 100}))
    assert "fresh respondents" in write_countries_report(several).read_text()


@pytest.mark.usefixtures("sketched")
def test_a_run_for_one_country_has_no_page_of_several(workdir: Path):
    with pytest.raises(UserError, match=r"summary\.json: the key 'countries' is missing"):
        write_countries_report(workdir)


# The plot.


def lines_of(figure: Figure, records: list[dict]) -> list:
    """The countries' curves, without marks and leaders."""
    return [line for line in figure.axes[0].lines if len(line.get_xdata()) == len(records)]


@pytest.mark.parametrize("count", [2, FEW, FEW + 1, 40])
def test_every_country_is_drawn_and_the_named_ones_look_different(figures: list[Figure], count):
    records, countries = make_run(count)
    plot_countries(records, countries, Sheet(Path("unused"), "title", "notice"))
    (figure,) = figures
    lines = lines_of(figure, records)
    drawn = {tuple(line.get_ydata()) for line in lines}
    curves = [[line["countries"][code]["best_loss"] for line in records] for code in countries]
    assert drawn == set(map(tuple, curves))
    texts = [text.get_text() for text in figure.axes[0].texts]
    styles = [(line.get_color(), str(line._unscaled_dash_pattern)) for line in lines]
    assert len(texts) == len(set(styles) - {styles_of_grey()}) == (count if count <= FEW else 3)
    assert len({dashes for _, dashes in styles}) >= len(texts)  # without colour, too
    ends = sorted(curve[-1] for curve in curves)
    if count > FEW:
        for word, end in (("lowest", ends[0]), ("middle", ends[(count - 1) // 2]),
                          ("highest", ends[-1])):  # fmt: skip
            assert any(t.startswith(word) and t.endswith(format_loss(end)) for t in texts)
    else:
        for country in countries.values():
            assert f"{country['country_name']}  {format_loss(country['loss']['best'])}" in texts


def styles_of_grey() -> tuple[str, str]:
    return drawing.PALE, str((0, None))


@pytest.mark.parametrize("count", [4, 40])
def test_no_text_overlaps_another_or_leaves_the_picture(figures: list[Figure], count: int):
    records, countries = make_run(count)
    for number, country in enumerate(countries.values()):
        country["country_name"] = f"{number} the longest name of a country anywhere"
    plot_countries(records, countries, Sheet(Path("unused"), "title", "notice"))
    assert_readable(figures[0])


def test_the_squares_are_the_naive_losses(figures: list[Figure]):
    records, countries = make_run(3)
    countries["CN"]["loss"]["naive"] = None
    plot_countries(records, countries, Sheet(Path("unused"), "title", None))
    squares = [line.get_ydata()[0] for line in figures[0].axes[0].lines if line.get_marker() == "s"]
    saudi, china, other = squares
    assert (saudi, other) == (110.0, 110.0 + 2 / 7) and math.isnan(china)


@pytest.mark.parametrize(("best", "count"), [(None, 2), (math.inf, 9), (0.0, 2), (3.0, 9)])
def test_sparse_records_are_drawn_without_a_warning(tmp_path: Path, best, count: int):
    _, countries = make_run(count)
    record = {"evaluations": 8, "best_loss": 1.0, "countries": {"SA": {"best_loss": best}}}
    for records in ([record], [record, record | {"evaluations": 16}]):
        plot_countries(records, countries, Sheet(tmp_path / "plot", "title", None))
        named = "Saudi Arabia" in (tmp_path / "plot.svg").read_text()
        assert named == (best in (0.0, 3.0))
