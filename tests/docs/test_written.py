"""Reference pages and the notebook are those of the code and of their page."""

import re

import nbformat
import pages
import pytest
import write_notebook
import write_reference
from pages import ROOT

from keras_bt import loss_floor


@pytest.mark.slow
def test_reference_pages_are_those_of_the_code():
    for name, text in write_reference.pages().items():
        assert (ROOT / "docs/reference" / name).read_text("utf-8") == text, name


def test_reference_has_every_public_name():
    import keras_bt
    from keras_bt import data, functional

    written = {}
    for module, names in write_reference.API.values():
        written.setdefault(module, []).extend(names.split())
    assert sorted(written[""]) == sorted(set(keras_bt.__all__) - {"__version__"})
    assert sorted(written["data"]) == sorted(data.__all__)
    assert sorted(written["functional"]) == sorted(set(functional.__all__) - {"loss_floor"})


def test_the_notebook_is_that_of_its_page():
    written = nbformat.read(write_notebook.PAGE.with_suffix(".ipynb"), as_version=4)
    assert written == write_notebook.notebook()
    nbformat.validate(written)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    from nbclient import NotebookClient

    notebook = write_notebook.notebook()
    replaced = {
        block.text.strip(): block.tested if not block.not_run else ""
        for block in pages.blocks_of(write_notebook.PAGE)
    }
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = replaced[cell.source]
    NotebookClient(notebook, resources={"metadata": {"path": tmp_path}}).execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 2


def test_the_table_of_floors_is_right():
    text = (ROOT / "docs/concepts/loss.md").read_text("utf-8")
    head, *rows = re.findall(r"^\| (?:dimensions|[\d,]+) \|.*", text, re.M)
    batches = [int(cell.replace(",", "")) for cell in re.findall(r"[\d,]+", head)]
    assert len(rows) == 3 and len(batches) == 5
    for row in rows:
        dim, *floors = [cell.replace(",", "") for cell in re.findall(r"[\d.,]+", row)]
        for batch, shown in zip(batches, floors, strict=True):
            decimals = len(shown.partition(".")[2])
            assert f"{loss_floor(batch, int(dim), 0.0051):.{decimals}f}" == shown, (dim, batch)
