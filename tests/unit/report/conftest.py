"""A workdir as a finished run leaves it, with scores outside 0 to 100 and a failed generation."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from fake_run import GENERATIONS, NOTICE, make_record
from matplotlib.figure import Figure

from jaxalign.report import countries, drawing, page
from jaxalign.report.drawing import Sheet
from jaxalign.report.evidence import page as evidence_page


@pytest.fixture
def records() -> list[dict[str, Any]]:
    return [make_record(generation) for generation in range(GENERATIONS + 1)]


@pytest.fixture
def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "country": "SA",
        "country_name": "Saudi Arabia",
        "model": "embedded",
        "notice": NOTICE,
        "strategy": "DifferentialEvolution",
        "generations": GENERATIONS,
        "evaluations": records[-1]["evaluations"],
        "loss": {"constant": 126.0, "naive": 108.0, "best": records[-1]["best_loss"]},
        "scores": {"PDI": 94.1, "IDV": 26.3, "MAS": 58.4, "UAI": 81.1, "LTO": 35.2, "IVR": 1 / 3},
        "naive_scores": {
            "PDI": 61.2, "IDV": -20.5, "MAS": 52.1, "UAI": 112.3, "LTO": 49.7, "IVR": 71.3,
        },
        "target": {"PDI": 95, "IDV": 25, "MAS": 60, "UAI": 80, "LTO": 36, "IVR": 52},
        "constant": [50, 50, 50, 50, 50, 50],
        "readout": "expected",
        "norm": "l1",
        "targets": "hofstede2010",
        "seconds": 61.2,
        "tokens_per_second": 50_000,
        "hardware": "2 CPU cores",
    }  # fmt: skip


@pytest.fixture
def workdir(tmp_path: Path, records: list[dict[str, Any]], summary: dict[str, Any]) -> Path:
    config = {
        "config": {
            "seed": 0,
            "country": "SA",
            "search": {"strategy": "DifferentialEvolution", "strategy_params": {"elitism": True}},
        },
        "versions": {"jax": "0.10.2"},
        "command": "python -m jaxalign.train --config=sa.py:embedded --note='<b>&'",
        "git_revision": None,
    }
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "summary.json").write_text(json.dumps(summary))
    lines = [json.dumps(record) + "\n" for record in records]
    (folder / "metrics.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved, in order, drawn but not written."""
    saved: list[Figure] = []

    def save(figure: Figure, stem: Path) -> None:
        figure.savefig(io.BytesIO(), format="png")
        saved.append(figure)

    monkeypatch.setattr(drawing, "save", save)
    return saved


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots are empty pictures, which is much faster."""

    def plot(*arguments, **_) -> None:
        (sheet,) = (each for each in arguments if isinstance(each, Sheet))
        sheet.stem.parent.mkdir(exist_ok=True)
        sheet.stem.with_suffix(".png").write_bytes(b"")
        sheet.stem.with_suffix(".svg").write_text('<svg width="9pt" height="9pt"></svg>')

    for module in (page, countries, evidence_page):
        for name in [name for name in vars(module) if name.startswith("plot_")]:
            monkeypatch.setattr(module, name, plot)
