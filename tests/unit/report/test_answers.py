"""Reports of surveys that are not like VSM13: answer distributions, and scores on other scales."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figures import assert_readable, shown_texts
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from pages import parse_page, printed

from jaxalign.report import print_result, print_results, radar_plot
from jaxalign.report.answers import read_answers
from jaxalign.report.answers_plot import MOST, plot_distributions
from jaxalign.report.drawing import Sheet
from jaxalign.report.page import write_report

FILES = [("runs/sa/summary.json", "scores and losses")]
OPTIONS = {"trust": ("1", "2", "3"), "news": ("A", "B")}
TEXTS = {"trust": "Whom do <you> trust?", "news": "Where from?"}
TARGET = (50.0, 30.0, 20.0, 25.0, 75.0)
NAIVE = (20.0, 30.0, 50.0, 95.4, 4.6)
TUNED = (45.0, None, 21.0, 30.2, 69.8)


@pytest.fixture
def opinions(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary of two items, of which one share was not finite."""
    keys = [f"{id_}={label}" for id_, labels in OPTIONS.items() for label in labels]
    items = {
        id_: {
            "text": TEXTS[id_],
            "options": {f"{id_}={label}": f"option {label}" for label in labels},
            "measure": "Wasserstein-1" if id_ == "trust" else "Jensen-Shannon",
            "distance": {"constant": 15.0, "naive": 30.0, "best": 2.5 + number},
        }
        for number, (id_, labels) in enumerate(OPTIONS.items())
    }
    shares = {"target": TARGET, "naive_scores": NAIVE, "scores": TUNED}
    scores = {place: dict(zip(keys, values, strict=True)) for place, values in shares.items()}
    others = {"scoring": "distribution", "baseline": "uniform answers", "constant": None}
    return summary | scores | others | {"items": items, "score_range": None}


def write(workdir: Path, summary: dict[str, Any]) -> Path:
    (workdir / "summary.json").write_text(json.dumps(summary))
    return write_report(workdir)


def test_the_page_of_distributions(workdir: Path, opinions: dict):
    page = write(workdir, opinions)
    names = {path.name for path in page.parent.iterdir()}
    drawn = {f"{stem}.{kind}" for stem in ("convergence", "answers") for kind in ("png", "svg")}
    assert names == {"scores.csv", "answers.csv", "index.html"} | drawn
    parser = parse_page(page)
    assert {load for load in parser.loads if not load.startswith("#")} == names - {"index.html"}
    text = parser.text
    for words in ("Whom do <you> trust?", "50 30 20", "45 – 21", "option 1 · option 2", "95 5"):
        assert words in text
    assert "uniform answers loss (mean distance, %)" in text
    assert "Jensen-Shannon distance (base 2)" in text
    for others in ("constant answer", "constant C", "rings", "L1"):
        assert others not in text


@pytest.mark.usefixtures("sketched")
def test_the_tables_hold_every_digit(workdir: Path, opinions: dict):
    folder = write(workdir, opinions).parent
    with (folder / "answers.csv").open(newline="") as file:
        rows = {row["item"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["trust", "news"]
    assert rows["news"]["measure"] == "Jensen-Shannon"
    assert (rows["news"]["constant"], rows["news"]["tuned"]) == ("15.0", "3.5")
    assert rows["news"]["constant_means"] == "uniform answers"
    with (folder / "scores.csv").open(newline="") as file:
        shares = {row["dimension"]: row for row in csv.DictReader(file)}
    assert list(shares) == list(opinions["target"])
    assert shares["news=A"]["naive"] == "95.4" and shares["trust=2"]["tuned"] == ""


def test_the_terminal_shows_the_shares_and_what_the_losses_are(opinions: dict):
    text = printed(print_result, opinions, FILES, None)
    (trust,) = (line.split() for line in text.splitlines() if line.strip().startswith("trust"))
    assert trust == ["trust", *"50 30 20 20 30 50 45 – 21 2.5".split()]
    assert "Loss (mean distance, %)" in text and "uniform answers" in text
    assert "constant answer" not in text
    text = printed(print_results, {"SA": opinions, "US": opinions}, FILES, None)
    assert "uniform answers" in text and "constant answer" not in text


def test_bars_are_the_shares_and_follow_one_another(opinions: dict, figures: list[Figure]):
    plot_distributions(read_answers(opinions), Sheet(Path("unused"), "title", "notice"))
    (axes,) = figures[0].axes
    bars = [(round(bar.get_x(), 6), round(bar.get_width(), 6)) for bar in axes.patches]
    assert bars[:3] == [(0, 50), (50, 30), (80, 20)]
    assert bars[6:8] == [(0, 45), (45, 21)]  # the missing share is left out
    assert bars[-2:] == [(0, 30.2), (30.2, 69.8)]
    texts = {text.get_text() for text in axes.texts}
    assert {"trust: Whom do <you> trust?", "option A · option B", "2.5", "3.5", "30"} <= texts
    edges = [bar.get_y() + bar.get_height() for bar in axes.patches]
    assert edges == sorted(edges)
    for text in axes.texts:
        box = text.get_window_extent()
        assert 0 <= box.x0 and box.x1 <= figures[0].bbox.x1


def test_of_many_items_the_farthest_are_drawn_in_their_order(opinions: dict, figures: list[Figure]):
    (item, *_) = read_answers(opinions)
    many = [
        item._replace(id=f"i{number}", distance=item.distance | {"best": abs(number - 10.2)})
        for number in range(20)
    ]
    plot_distributions(many, Sheet(Path("unused"), "title", None))
    texts = [text.get_text().partition(":")[0] for text in figures[0].axes[0].texts]
    drawn = [int(text[1:]) for text in texts if text.startswith("i")]
    assert len(drawn) == MOST
    assert drawn == [*range(7), *range(15, 20)]


@pytest.mark.usefixtures("sketched")
def test_small_scores_have_two_decimals_and_no_rings_at_100(workdir: Path, summary: dict):
    summary |= {
        "scoring": "ipsatised",
        "baseline": "uniform answers",
        "score_range": None,
        "constant": [0.0, 0.0, 0.0],
        "target": {"A": -0.6, "B": 0.45, "C": 0.1},
        "naive_scores": {"A": 0.0, "B": 0.003, "C": 0.2},
        "scores": {"A": -0.55, "B": 0.4, "C": -0.001},
    }
    text = " ".join(parse_page(write(workdir, summary)).text.split())
    for number in ("\N{MINUS SIGN}0.60", "0.45", "0.00", "0.05"):
        assert number in text
    assert "mean over all items. It ranks" in text and "marked ring, if there is one, is 0" in text
    assert "constant answer" not in text
    table = printed(print_result, summary, FILES, None)
    assert "\N{MINUS SIGN}0.60" in table and "uniform answers" in table


@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=8),
    st.sampled_from([1e-3, 0.1, 1.0, 7.0, 1e4]),
)
def test_the_rings_without_a_scale_hold_every_score(values: list[float], scale: float):
    scores = scale * np.array(values)
    rings = radar_plot.rings_of(scores, None)
    slack = 1e-6 * (rings[1] - rings[0])
    assert rings[0] <= scores.min() + slack and scores.max() - slack <= rings[-1]
    assert 2 <= len(rings) <= 8
    assert np.diff(rings) == pytest.approx(rings[1] - rings[0])


@pytest.mark.parametrize(
    ("ends", "values", "expected"),
    [
        ((1.0, 5.0), [2.0, 4.5], [1, 2, 3, 4, 5]),
        ((1.0, 5.0), [0.5, 5.5], [0, 1, 2, 3, 4, 5, 6]),
        ((-1.0, 1.0), [0.3], [-1, -0.5, 0, 0.5, 1]),
        ((0.0, 100.0), [-240.0, 10.0], [-250, -200, -100, 0, 100]),
    ],
)
def test_the_rings_of_another_scale(ends, values, expected):
    assert radar_plot.rings_of(np.array(values), ends).tolist() == expected


@pytest.mark.parametrize("ends", [None, (0.0, 100.0), (1.0, 5.0)])
def test_the_rings_at_the_ends_are_marked(figures: list[Figure], ends):
    scores = {"target": {"A": 2.0, "B": 3.0, "C": -1.0}}
    radar_plot.plot_radar(scores, Sheet(Path("unused"), "title", None), ends)
    labels = [text.get_text() for text in figures[0].axes[0].texts]
    assert {"0"} if ends is None else {f"{end:g}" for end in ends} <= set(labels)
    marked = [line for line in figures[0].axes[0].lines if line.get_linewidth() == 1.1]
    assert len(marked) == (1 if ends is None else 2)


def test_a_long_notice_is_broken_and_none_of_it_lost(figures: list[Figure], opinions: dict):
    notice = "a notice of many words, " * 8 + "and its end"
    plot_distributions(read_answers(opinions), Sheet(Path("unused"), "title", notice))
    (figure,) = figures
    (text,) = (text for text in shown_texts(figure) if text.get_style() == "italic")
    assert "\n" in text.get_text() and " ".join(text.get_text().split()) == notice
    assert_readable(figure)
