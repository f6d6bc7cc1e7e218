"""The plots: nothing clipped, nothing overlapping, equal inputs to equal bytes, no warnings."""

import io
import math
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from figures import assert_readable
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from jaxalign.report import drawing, radar_plot
from jaxalign.report.convergence_plot import plot_convergence
from jaxalign.report.drawing import Sheet

SVG = "{http://www.w3.org/2000/svg}"
LOSSES = {"naive": 108.0, "constant answer": 126.0}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved, in order; nothing is written."""
    saved: list[Figure] = []
    monkeypatch.setattr(drawing, "save", lambda figure, stem: saved.append(figure))
    return saved


def texts_of(path: Path) -> list[str]:
    """Returns the texts of an SVG file, a line of a label at a time."""
    root = ElementTree.parse(path).getroot()
    return ["".join(text.itertext()).strip() for text in root.iter(f"{SVG}text")]


def line_of(figure: Figure, label: str) -> np.ndarray:
    """Returns the scores of a label's polygon, without the repeated first one."""
    (line,) = (line for line in figure.axes[0].lines if line.get_label() == label)
    return np.asarray(line.get_ydata())[:-1]


def test_the_radar_clips_no_score(figures: list[Figure]):
    scores = {
        "target": {"A": 0.0, "B": 100.0, "C": 50.0},
        "naive": {"A": -20.0, "B": 112.0, "C": -240.0},
    }
    radar_plot.plot_radar(scores, Sheet(Path("unused"), "title", None))
    (figure,) = figures
    for label, of_label in scores.items():
        assert line_of(figure, label).tolist() == list(of_label.values())
    low, high = figure.axes[0].get_ylim()
    assert low <= -240 and high >= 112
    labels = {text.get_text() for text in figure.axes[0].texts}
    assert {"0", "100", "125", "\N{MINUS SIGN}250"} <= labels


@given(st.lists(st.integers(-3000, 4000).map(lambda tenths: tenths / 10), min_size=1, max_size=12))
def test_the_rings_hold_every_score_and_0_to_100(values: list[float]):
    rings = radar_plot.rings_of(np.array(values))
    assert rings[0] <= min(0, *values)
    assert rings[-1] >= max(100, *values)
    assert not (rings % 25).any() and len(rings) <= 12


def test_the_rings_of_ordinary_scores_are_those_of_the_scale():
    for values in ([3.0, 97.0, math.nan], [math.nan]):
        assert radar_plot.rings_of(np.array(values)).tolist() == [0, 25, 50, 75, 100]


@pytest.mark.parametrize("count", [1, 2, 3, 6, 12])
def test_any_number_of_dimensions_is_drawn_and_named(tmp_path: Path, count: int):
    target = {f"D{index}": 8.0 * index for index in range(count)}
    tuned = {name: value + 3 for name, value in target.items()}
    radar_plot.plot_radar(
        {"target": target, "tuned": tuned}, Sheet(tmp_path / "radar", "title", "notice")
    )
    texts = texts_of(tmp_path / "radar.svg")
    assert set(target) | {"target", "tuned", "title", "notice"} <= set(texts)


def test_a_missing_score_leaves_a_gap(figures: list[Figure]):
    scores = {"target": dict.fromkeys("ABCD", 50.0), "tuned": {"A": 1.0, "B": None, "C": math.inf}}
    radar_plot.plot_radar(scores, Sheet(Path("unused"), "title", None))
    missing = np.isnan(line_of(figures[0], "tuned"))
    assert missing.tolist() == [False, True, True, True]


def test_convergence_labels_every_line_with_its_value(tmp_path: Path, records: list[dict]):
    plot_convergence(records, LOSSES, Sheet(tmp_path / "convergence", "title", "the notice"))
    texts = texts_of(tmp_path / "convergence.svg")
    for text in ("title", "the notice", "naive  108.0", "constant answer  126.0"):
        assert text in texts
    assert any(text.startswith("tuned, best so far  ") for text in texts)
    assert "generation" in texts


@pytest.mark.parametrize(
    ("factor", "floor", "scale"), [(0.9, 0.0, "log"), (0.99, 0.0, "linear"), (0.9, -1.0, "linear")]
)
def test_the_loss_axis_is_logarithmic_over_a_decade(
    figures: list[Figure], factor: float, floor: float, scale: str
):
    records = [
        {"evaluations": 8 * g, "best_loss": 100 * factor**g + (floor if g == 40 else 0) * 100}
        for g in range(41)
    ]
    plot_convergence(records, {"naive": 100.0}, Sheet(Path("unused"), "title", None))
    assert figures[0].axes[0].get_yscale() == scale


@pytest.mark.parametrize(
    "records",
    [
        [{"generation": 0, "evaluations": 8, "best_loss": 3.0, "generation_mean": 4.0}],
        [{"evaluations": 8, "best_loss": None}, {"evaluations": 16, "best_loss": None}],
        [{"evaluations": 8, "best_loss": math.inf}, {"evaluations": 16, "best_loss": 0.0}],
    ],
)
def test_sparse_records_are_drawn_without_a_warning(tmp_path: Path, records: list[dict]):
    plot_convergence(records, {}, Sheet(tmp_path / "convergence", "title", None))
    assert texts_of(tmp_path / "convergence.svg")


@given(st.lists(st.floats(0.5, 500), min_size=4, max_size=4))
@settings(deadline=None, max_examples=8)
def test_the_labels_of_the_lines_never_overlap(values: list[float]):
    best, mean, naive, constant = values
    records = [
        {"evaluations": 8 * g, "best_loss": best, "generation_mean": mean} for g in range(1, 4)
    ]
    saved: list[Figure] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "save", lambda figure, stem: saved.append(figure))
        plot_convergence(
            records,
            {"naive": naive, "uniform answers": constant},
            Sheet(Path("unused"), "title", "notice"),
        )
    (figure,) = saved
    figure.savefig(io.BytesIO(), format="png")
    assert len(figure.axes[0].texts) == 4
    assert_readable(figure)


def test_two_renders_are_equal_byte_for_byte_in_other_processes(tmp_path: Path):
    program = """if True:
        import sys
        from pathlib import Path
        from jaxalign.report.convergence_plot import plot_convergence
        from jaxalign.report.drawing import Sheet
        from jaxalign.report.radar_plot import plot_radar
        records = [dict(generation=g, evaluations=g, best_loss=9.0 / g) for g in range(1, 9)]
        folder = Path(sys.argv[1])
        plot_convergence(records, {"naive": 8.0}, Sheet(folder / "convergence", "t", "n"))
        plot_radar({"target": {"A": 1.0, "B": 2.0, "C": 3.0}}, Sheet(folder / "radar", "t", "n"))
        assert "matplotlib.pyplot" not in sys.modules
    """
    for folder in ("one", "two"):
        subprocess.run([sys.executable, "-c", program, tmp_path / folder], check=True)
    for name in ("convergence.svg", "radar.svg", "convergence.png", "radar.png"):
        one, two = (tmp_path / folder / name for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    assert "dc:date" not in (tmp_path / "one" / "radar.svg").read_text()
