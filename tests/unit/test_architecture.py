"""Imports point down the layers that pyproject.toml lists, and the check is able to fail."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

LINT = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """Checks the contracts of a tree; the tree's own jaxalign comes first on the import path."""
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the contracts and the code, for a test to spoil."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for source in (ROOT / "jaxalign").rglob("*.py"):
        copy = tmp_path / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
    return tmp_path


def test_imports_point_down():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("place", "upward"),
    [
        ("errors.py", "jaxalign.survey"),
        ("survey/__init__.py", "jaxalign.prompts"),
        ("model/__init__.py", "jaxalign.survey"),
        ("search/__init__.py", "jaxalign.model"),
        ("report/__init__.py", "jaxalign.survey"),
        ("evolve.py", "ml_collections"),
    ],
)
def test_an_upward_import_is_reported(tree: Path, place: str, upward: str):
    with (tree / "jaxalign" / place).open("a") as file:
        file.write(f"\nimport {upward}\n")
    result = lint_imports(tree)
    assert result.returncode == 1, result.stdout + result.stderr
    module = f"jaxalign.{place.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}"
    assert f"{module} -> {upward}" in result.stdout


def test_a_module_without_a_place_is_reported(tree: Path):
    (tree / "jaxalign" / "utils.py").write_text("")
    result = lint_imports(tree)
    assert result.returncode == 1
    assert "utils" in result.stdout


def test_the_top_of_the_package_is_read_at_a_glance():
    names = [path.name for path in (ROOT / "jaxalign").iterdir() if path.name[:2] != "__"]
    assert len(names) + 2 <= 28, sorted(names)  # __init__ and __main__


def test_no_public_function_takes_more_than_six_arguments_without_keywords():
    long = []
    for path in sorted((ROOT / "jaxalign").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                names = [each.arg for each in node.args.posonlyargs + node.args.args]
                if len(names) - (names[:1] in (["self"], ["cls"])) > 6:
                    long.append(f"{path.name}: {node.name}")
    assert long == []
