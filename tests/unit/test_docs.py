"""Shown figures are those of docs/results.json; the README stays short."""

import json
import sys

import pytest
from paths import ROOT

sys.path.insert(0, str(ROOT / "docs"))
import results


def test_every_shown_figure_is_that_of_the_results():
    assert results.stale() == []


def test_a_figure_that_differs_is_found(tmp_path, monkeypatch):
    entries = {"speed": {"columns": ["shape", "ratio"], "rows": [["4x256", "9.6"]]}}
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- results: speed -->\n| shape | ratio |\n<!-- end -->\n"
        "<!-- r: speed/4x256/ratio -->8.0<!-- /r --> times\n"
    )
    shown = results.renew(page, entries)
    assert "| 4x256 | 9.6 |" in shown and "-->9.6<!--" in shown and "8.0" not in shown
    (tmp_path / "sa.py").write_text('"""L1 loss from 97.0 to 0.1 (a synthetic model)."""\n')
    columns = ["", "naive", "tuned"]
    rows = [["Saudi Arabia", "91.1", "7.7"]]
    text = results.renew(
        tmp_path / "sa.py", entries | {"defaults": {"columns": columns, "rows": rows}}
    )
    assert "loss from 91.1 to 7.7" in text


def test_every_entry_says_where_it_is_from():
    for name, entry in json.loads(results.FILE.read_text()).items():
        assert {"command", "hardware", "date", "versions", "revision"} <= entry.keys(), name
        assert {len(row) for row in entry["rows"]} == {len(entry["columns"])}, name


@pytest.mark.parametrize(("name", "most"), [("README.md", 150), ("BUILD_NOTES.md", 80)])
def test_pages_that_are_to_be_read_whole_are_short(name, most):
    assert len((ROOT / name).read_text().splitlines()) <= most


def test_every_table_is_shown_somewhere():
    shown = "".join(path.read_text() for path in results.texts())
    entries = json.loads(results.FILE.read_text())
    assert [name for name in entries if f"<!-- results: {name} -->" not in shown] == []
