"""Shown figures are those of docs/results.json; what the pages name exists; the README is short."""

import ast
import json
import re
import sys

import pytest
from paths import ROOT

import jaxalign

sys.path.insert(0, str(ROOT / "docs"))
import measuring
import results

PAGES = [
    ROOT / name for name in ("README.md", "BUILD_NOTES.md", "CONTRIBUTING.md", "launch/README.md")
] + sorted((ROOT / "docs").rglob("*.md"))
ENTRIES = json.loads(results.FILE.read_text())


def prose(path):
    """Return a page without the parts that come from results.json."""
    return results._SECTION.sub("", path.read_text(encoding="utf-8"))


def test_every_shown_figure_is_that_of_the_results():
    assert results.stale() == []


def test_a_figure_that_differs_is_refreshed():
    table = {"columns": ["shape", "ratio"], "rows": [["4x256", "9.6"]], "notes": ["Idle."]}
    origin = {"command": "c", "hardware": "h", "date": "d", "versions": {}, "revision": "r"}
    shown = results.refresh(
        "<!-- results: speed -->\n| shape | ratio |\n<!-- end -->\n"
        "It is <!-- r: speed | 4x256 | ratio -->8.0<!-- /r --> times as fast.\n"
        "<!-- results: said -->\n<!-- end -->\n",
        {"speed": table | origin, "said": {"text": ["naive loss  91.1"]} | origin},
    )
    assert "| 4x256 | 9.6 |" in shown and "-->9.6<!--" in shown and "8.0" not in shown
    assert "Idle." in shown and "```\nnaive loss  91.1\n```" in shown
    rows = {"columns": ["", "naive", "tuned"], "rows": [["Saudi Arabia", "91.1", "7.7"]]}
    text = results.refresh_config("L1 loss from 97.0 to 0.1 (a", "Saudi Arabia", {"defaults": rows})
    assert text == "L1 loss from 91.1 to 7.7 (a"


def test_every_entry_names_its_origin_and_is_shown():
    shown = "".join(path.read_text() for path in PAGES)
    for name, entry in ENTRIES.items():
        assert {"command", "hardware", "date", "versions", "revision"} <= entry.keys(), name
        assert {len(row) for row in entry.get("rows", ())} <= {len(entry.get("columns", ()))}, name
        assert f"<!-- results: {name} -->" in shown, name


def test_the_output_of_a_run_is_shortened_to_its_story():
    printed = "\n".join(
        ["Note: synthetic", "", "survey      Values", "naive loss  91.1", "workdir     runs/sa", ""]
        + [f"generation {n}/16  best {70 - n}.0" for n in (0, 8, 16)]
        + [
            "",
            "Scores: Saudi Arabia   ",
            "  PDI  95.0",
            "",
            "",
            "Loss (L1)",
            "  tuned   7.7  8%   ",
        ]
        + ["Note: synthetic", "workdir: files"]
    )
    assert measuring.shorten(printed) == [
        "naive loss  91.1", "", "generation 0/16  best 70.0", "generation 8/16  best 62.0", "…",
        "generation 16/16  best 54.0", "", "Scores: Saudi Arabia", "  PDI  95.0", "", "Loss (L1)",
        "  tuned   7.7  8%",
    ]  # fmt: skip


def test_the_hardware_is_named():
    assert measuring.hardware()


@pytest.mark.parametrize(("name", "most"), [("README.md", 150), ("BUILD_NOTES.md", 80)])
def test_pages_that_are_to_be_read_whole_are_short(name, most):
    assert len((ROOT / name).read_text().splitlines()) <= most


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_files_exist(path):
    names = re.findall(
        r"[\w.]+(?:/[\w.]+)+\.(?:py|sh|md|yaml|yml|json|sbatch|ipynb)\b", prose(path)
    )
    tops = ("configs/", "docs/", "examples/", "jaxalign/", "launch/", "tests/")
    for name in set(names):
        folders = (
            [ROOT] if name.startswith(tops) else [ROOT / "jaxalign", path.parent, ROOT / "launch"]
        )
        if name.startswith(
            tuple(f"{p.name}/" for p in (ROOT / "jaxalign").iterdir() if p.is_dir())
        ) or (name.startswith(tops)):
            assert any((folder / name).exists() for folder in folders), name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_modules_exist(path):
    for name in set(re.findall(r"(?:::: |python -m )(jaxalign[\w.]*\w)", path.read_text())):
        parts, names = name.split("."), []
        while parts and not (ROOT / "/".join(parts)).is_dir():
            if (ROOT / ("/".join(parts) + ".py")).exists():
                break
            names.insert(0, parts.pop())
        assert parts and len(names) <= 1, name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_config_keys_exist(path):
    from jaxalign import config

    keys = set(config.flatten(config.base().to_dict())) | set(config.base())
    for key in set(re.findall(r"--config\.([a-z_]+(?:\.[a-z_0-9]+)*)", path.read_text())):
        assert key in keys, key


def test_an_inline_figure_does_not_begin_a_line():
    # Python-Markdown takes a comment at the start of a line as the end of the paragraph.
    for path in PAGES:
        assert not re.search(r"^\s*<!-- r:", path.read_text(), re.MULTILINE), path


def test_the_documented_api_is_the_exported_one():
    shown = set(
        re.findall(r"::: jaxalign\.(?:api|errors)\.(\w+)", (ROOT / "docs/api.md").read_text())
    )
    assert shown == set(jaxalign.__all__)


def test_the_strategy_in_the_docs_is_short():
    (code,) = re.findall(
        r"```python\n(\"\"\"mine.py.*?)```", (ROOT / "docs/strategies.md").read_text(), re.S
    )
    tree = ast.parse(code)
    (strategy,) = (
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Walk"
    )
    assert strategy.end_lineno - strategy.lineno < 30


def test_the_walk_names_what_exists():
    text = (ROOT / "docs" / "architecture.md").read_text()
    walk = text.split("<!-- walk")[1].split("<!-- end of the walk")[0]
    names = [name for name in re.findall(r"`([a-z_]+(?:\.\w+)+)`", walk) if ".json" not in name]
    assert len(names) > 8
    for name in names:
        path, parts = ROOT / "jaxalign", name.split(".")
        while parts and (path / parts[0]).is_dir():
            path = path / parts.pop(0)
        if parts and (path / f"{parts[0]}.py").exists():
            path = path / f"{parts.pop(0)}.py"
        source = path if path.suffix else path / "__init__.py"
        assert path.name != "jaxalign", name
        assert all(re.search(rf"\b{part}\b", source.read_text()) for part in parts), name


def test_the_docs_name_every_strategy():
    from jaxalign.search import strategy_names

    text = (ROOT / "docs" / "strategies.md").read_text()
    assert [name for name in strategy_names() if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_flags_exist(path):
    text = path.read_text().replace("\\\n", " ")
    for command, rest in re.findall(r"python -m jaxalign\.(\w+)([^`\n]*)", text):
        folder = ROOT / "jaxalign" / command
        sources = [folder / "__main__.py"] if folder.is_dir() else [folder.with_suffix(".py")]
        source = "".join(each.read_text() for each in (*sources, ROOT / "jaxalign" / "cli.py"))
        for flag in re.findall(r"--([a-z_]+)\b(?!\.)", rest):
            assert re.search(rf"\b{flag}\b", source), (command, flag)


def test_no_decimal_figure_is_typed_by_hand():
    names = ("evidence", "measurements", "strategies", "throughput", "tune", "decisions/dropped")
    allowed = ("3.11", "2.0", "3.1", "3.2", "1.5 mean norms")  # versions, and a setting
    for path in (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in names)):
        text = re.sub(r"```.*?```|`[^`]*`|arXiv \S+|\(http\S+\)", "", prose(path), flags=re.DOTALL)
        for each in allowed:
            text = text.replace(each, "")
        assert re.findall(r"\d+\.\d+", results._CELL.sub("", text)) == [], path
