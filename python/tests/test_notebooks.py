"""The notebooks in examples/ run from the first cell to the last."""

import os
import pathlib

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
pytest.importorskip("transformers", minversion="5")

FOLDER = pathlib.Path(__file__).parents[2] / "examples" / "notebooks"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs(path):
    notebook = nbformat.read(path, 4)
    if "CLEARHEAD_MINILM" in str(notebook) and "CLEARHEAD_MINILM" not in os.environ:
        pytest.skip("set CLEARHEAD_MINILM to what tools/demo-model prints")
    if ".widget(" in str(notebook):
        pytest.importorskip("anywidget")
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(FOLDER)}}).execute()
