"""The notebook runs from top to bottom, in a folder of its own."""

import nbformat
from nbclient import NotebookClient
from paths import ROOT


def test_quickstart(tmp_path):
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    NotebookClient(
        notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()  # raises where a cell does
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert (tmp_path / "runs" / "quickstart" / "evaluation.json").exists()
