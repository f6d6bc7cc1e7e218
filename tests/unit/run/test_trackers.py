"""What watchers of a run are given: scalars, plots and texts; nothing twice after a restart.

TensorBoard's event files are read back. Weights & Biases is too heavy for the suite, so that
adapter is given a recorder of its calls; docs/decisions/run.md says how it was tried by hand.
"""

import io
import json
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from jaxalign.errors import UserError
from jaxalign.report.ending import read_ending
from jaxalign.run.trackers import WANDB_ID, TensorBoard, WandB, import_wandb
from jaxalign.run.workdir import Workdir

NOTICE = "synthetic model"
CODES = ("SA", "US")


def make_record(generation: int) -> dict:
    terms = {"survey": 9.0 - generation}
    countries = {code: {"best_loss": 9.0 - generation, "terms": terms} for code in CODES}
    figures = {"evaluations": 8 * generation, "best_loss": 9.0 - generation}
    return {"generation": generation, "accepted": None, **figures, "countries": countries}


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """A finished run of two plots."""
    folder = tmp_path / "run"
    (folder / "report").mkdir(parents=True)
    for number, name in enumerate(("convergence", "radar")):
        pixels = np.full((4 + number, 6, 4), 255, np.uint8)
        pixels[0, 0] = (255, 0, 0, 255)
        Image.fromarray(pixels).save(folder / "report" / f"{name}.png")
    summary = {
        "country": "SA",
        "country_name": "Saudi Arabia",
        "notice": NOTICE,
        "loss": {"constant": 126.0, "naive": 100.0, "best": 4.0},
        "scores": {"PDI": 94.1},
        "target": {"PDI": 95},
    }
    config = {"command": "python -m jaxalign.train --config=sa.py", "config": {"seed": 3}}
    lines = [json.dumps(make_record(generation)) + "\n" for generation in range(5)]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "metrics.jsonl").write_text("".join(lines))
    return folder


def events(folder: Path) -> list[tuple[int, str, object]]:
    """Step, tag and value of everything in the one event file."""
    (path,) = folder.iterdir()
    data, found = io.BytesIO(path.read_bytes()), []
    while head := data.read(12):  # a length and its checksum; another checksum ends a record
        event = Event.FromString(data.read(struct.unpack("<Q", head[:8])[0]))
        data.read(4)
        for value in event.summary.value:
            kind = value.WhichOneof("value")
            found.append((event.step, value.tag, getattr(value, kind)))
    return found


def test_tensorboard_has_scalars_plots_and_texts(workdir):
    curves = TensorBoard(workdir / "tensorboard", NOTICE)
    for generation in range(5):
        curves.draw(make_record(generation))
    curves.show(read_ending(workdir))
    curves.close(failed=False)
    found = events(workdir / "tensorboard")
    losses = [(step, value) for step, tag, value in found if tag == "best_loss"]
    assert losses == [(step, 9.0 - step) for step in range(5)]
    tags = {tag for _, tag, _ in found}
    assert "countries/US/terms/survey" in tags and not {"accepted", "generation"} & tags
    values = {tag: value for step, tag, value in found if step == 4}
    image = values["report/radar"]
    assert (image.height, image.width) == (5, 6)
    pixels = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)))
    assert tuple(pixels[0, 0][:3]) == (255, 0, 0) and tuple(pixels[1, 1][:3]) == (255, 255, 255)
    texts = {
        tag.split("/")[0]: value.string_val[0].decode()
        for tag, value in values.items()
        if tag.endswith("/text_summary")
    }
    assert set(texts) == {"summary", "command", "config"}
    assert "| Saudi Arabia | 126.0 | 100.0 | 4.0 | 4% |" in texts["summary"]
    assert "| PDI | 95.0 | – | 94.1 |" in texts["summary"] and NOTICE in texts["summary"]
    assert texts["command"] == "    python -m jaxalign.train --config=sa.py"
    assert json.loads(texts["config"])["config"] == {"seed": 3}


def test_curves_are_drawn_anew(tmp_path):
    for _ in range(2):
        curves = TensorBoard(tmp_path / "tensorboard", None)
        curves.draw(make_record(1))
        curves.close(failed=False)
    assert sum(tag == "best_loss" for _, tag, _ in events(tmp_path / "tensorboard")) == 1


def test_several_countries_are_one_table(workdir):
    summary = json.loads((workdir / "summary.json").read_text())
    loss = {"constant": 100.0, "naive": None, "best": 1.0}
    summary["countries"] = {"SA": dict(summary), "US": {"country": "US", "loss": loss}}
    (workdir / "summary.json").write_text(json.dumps(summary))
    lines = read_ending(workdir).texts["summary"].splitlines()
    assert lines[-2:] == [
        "| Saudi Arabia | 126.0 | 100.0 | 4.0 | 4% |",
        "| US | 100.0 | – | 1.0 |  |",
    ]


class Service:
    """Stands for the package: what is kept of each run over its starts, and what was called."""

    class Error(Exception):
        pass

    def __init__(self):
        self.history: dict[str, dict[int, dict]] = {}
        self.calls: list[tuple] = []
        self.refuses = False

    def init(self, **arguments) -> SimpleNamespace:
        if self.refuses:
            raise self.Error("no API key\nconfigured")
        steps = self.history.setdefault(arguments["id"], {})
        self.calls.append(("init", arguments))

        def log(values: dict, step: int | None = None) -> None:
            if step is None:
                self.calls.append(("show", values))
                return
            assert step not in steps, "logged twice"
            steps[step] = values

        return SimpleNamespace(
            log=log,
            starting_step=max(steps, default=-1) + 1,
            summary=SimpleNamespace(update=lambda values: self.calls.append(("summary", values))),
            finish=lambda exit_code: self.calls.append(("finish", exit_code)),
        )

    Settings = staticmethod(lambda **settings: settings)
    Image = staticmethod(lambda path: ("image", path))


@pytest.fixture
def service(monkeypatch) -> Service:
    service = Service()
    monkeypatch.setitem(sys.modules, "wandb", service)
    return service


def test_a_restart_goes_on_with_the_same_run_and_logs_nothing_twice(workdir, service):
    record = {"config": {"seed": 3}}
    with pytest.raises(ZeroDivisionError), Workdir(workdir) as opened:
        opened.begin(4)
        opened.add_tracker(WandB("culture", workdir, record))
        opened.rewind_metrics(None)
        for generation in range(3):
            opened.append_metrics(make_record(generation) | {"seconds": 0.1})
        raise ZeroDivisionError
    with Workdir(workdir) as opened:
        opened.add_tracker(WandB("culture", workdir, record))
        assert len(opened.rewind_metrics(make_record(2))) == 3
        for generation in (3, 4):
            opened.append_metrics(make_record(generation) | {"seconds": 0.1})
        opened.show_ending()
    first, second = (arguments for name, arguments in service.calls if name == "init")
    assert first == second and first["project"] == "culture" and first["config"] == record
    assert (workdir / WANDB_ID).read_text() == first["id"]
    history = service.history[first["id"]]
    assert {step: values["best_loss"] for step, values in history.items()} == {
        step: 9.0 - step for step in range(5)
    }
    assert history[1]["countries/SA/best_loss"] == 8.0
    told = dict(service.calls)
    assert told["show"]["report/radar"] == ("image", str(workdir / "report" / "radar.png"))
    assert told["summary"]["loss/best"] == 4.0 and told["summary"]["scores/PDI"] == 94.1
    assert [code for name, code in service.calls if name == "finish"] == [1, 0]


def test_a_refusal_and_a_missing_package_are_told(workdir, service, monkeypatch):
    service.refuses = True
    with pytest.raises(UserError, match=r"(?s)--wandb=culture: no API key.*WANDB_MODE"):
        WandB("culture", workdir, {})
    monkeypatch.setitem(sys.modules, "wandb", None)  # as Python marks what cannot be imported
    with pytest.raises(UserError, match=r"wandb is not installed; install jaxalign\[wandb\]"):
        import_wandb()
