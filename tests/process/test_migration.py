"""Workdirs of earlier versions go on, and those of later ones are refused with the file's name."""

import json
import zipfile
from pathlib import Path

import pytest
from paths import DATA

from jaxalign.config import recorded, with_keys
from jaxalign.errors import UserError
from jaxalign.files import FORMAT, read_json, read_run
from jaxalign.interchange import read_soft_prompt
from jaxalign.run.tune import tune
from jaxalign.status import describe

STORED = DATA / "workdir-0.1.0.zip"  # two generations at revision a9143d2


@pytest.fixture
def old(tmp_path: Path) -> Path:
    zipfile.ZipFile(STORED).extractall(tmp_path)
    return tmp_path / "run"


def test_a_run_of_the_first_version_is_read_and_goes_on(old):
    record = read_json(old / "config.json")
    assert "format" not in record and "stop_loss" not in record["config"]["search"]
    assert describe(old, 0.0)["state"] == "done" and read_run(old).summary["generations"] == 2
    before = (old / "metrics.jsonl").read_text().splitlines()
    assert len(before) == 3
    settings = recorded(record, old / "config.json")
    assert settings.search.stop_loss == 0.0
    tune(with_keys(settings, {"search.generations": 3}), old)
    after = (old / "metrics.jsonl").read_text().splitlines()
    assert after[:3] == before and json.loads(after[3])["generation"] == 3
    assert [json.loads(line)["evaluations"] for line in after] == sorted(
        json.loads(line)["evaluations"] for line in after
    )
    assert read_soft_prompt(old).shape == (2, 128)


def test_every_json_file_says_its_format_and_a_newer_one_is_refused(old):
    settings = recorded(read_json(old / "config.json"), old / "config.json")
    tune(settings, old)  # nothing is left to do
    for name in ("config.json", "summary.json", "heartbeat.json"):
        content = read_json(old / name)
        assert next(iter(content)) == "format" and content["format"] == FORMAT
    (old / "config.json").write_text(json.dumps(content | {"format": FORMAT + 1}))
    said = f"{old / 'config.json'}: is of format {FORMAT + 1} and this version reads {FORMAT}"
    for read in (lambda: read_run(old), lambda: tune(settings, old)):
        with pytest.raises(UserError, match=said):
            read()
