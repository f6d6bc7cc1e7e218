"""The wheel that pip builds carries everything that the first command needs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from paths import ROOT

pytestmark = pytest.mark.nightly

MAX_WHEEL_BYTES = 12 * 2**20
COUNTRIES = ("sa", "cn", "in", "us")
DATA_SUFFIXES = {
    ".yaml",
    ".yml",
    ".csv",
    ".json",
    ".jsonl",
    ".safetensors",
    ".jinja",
    ".npz",
    ".html",
    ".css",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", folder, ROOT]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (path,) = folder.glob("jaxalign-*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_carries_the_configs(names: set[str]):
    for name in (*COUNTRIES, "template"):
        assert f"jaxalign/configs/{name}.py" in names
    assert not any(name.startswith("configs/") for name in names)


def test_wheel_carries_the_survey(names: set[str]):
    assert "jaxalign/survey/data/vsm13.yaml" in names
    assert "jaxalign/survey/data/targets.csv" in names


def test_wheel_carries_the_embedded_model(names: set[str]):
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        assert f"jaxalign/model/embedded/{name}" in names


def test_wheel_carries_every_module_and_data_file(names: set[str]):
    package = ROOT / "jaxalign"
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.suffix in DATA_SUFFIXES | {".py"} and "__pycache__" not in path.parts
    }
    assert wanted <= names
    assert not any("__pycache__" in name or name.startswith("tests/") for name in names)


def test_wheel_is_small(wheel: Path):
    assert wheel.stat().st_size < MAX_WHEEL_BYTES


def test_an_installed_wheel_reads_its_own_files(wheel: Path, tmp_path: Path):
    """Unpacked far from the checkout, the package finds its configs, survey and model."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    program = """if True:
        import importlib.resources, pathlib, sys
        import jaxalign
        here = pathlib.Path(jaxalign.__file__).parent
        assert here.is_relative_to(sys.argv[1]), here
        files = importlib.resources.files("jaxalign")
        assert "country" in (files / "configs" / "sa.py").read_text()
        assert len((files / "survey/data/vsm13.yaml").read_text()) > 1000
    """
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
