"""Writes docs/tutorials/first_encoder.ipynb from its Markdown page.

    python docs/write_notebook.py

Python blocks become code cells, and the text between them Markdown cells.
"""

import posixpath
import re
from pathlib import Path

import nbformat

PAGE = Path(__file__).parent / "tutorials/first_encoder.md"
REPOSITORY = "https://github.com/keras-bt/keras-bt/blob/main"
IMAGES = "https://raw.githubusercontent.com/keras-bt/keras-bt/main"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def notebook():
    """Returns the notebook of the page."""
    parts = re.split(r"^```python\n(.*?)^```\n", PAGE.read_text("utf-8"), flags=re.M | re.S)
    cells = []
    for index, part in enumerate(parts):
        if index % 2:
            cell = nbformat.v4.new_code_cell(part.strip())
        else:
            text = re.sub(r"<!--.*?-->\n?", "", part, flags=re.S).strip()
            if not text:
                continue
            cell = nbformat.v4.new_markdown_cell(with_whole_links(text))
        cell["id"] = f"cell-{len(cells)}"  # random otherwise
        cells.append(cell)
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def with_whole_links(text):
    """Returns Markdown whose links to other pages and pictures work outside the repository."""

    def whole(match):
        mark, words, link = match.groups()
        if "://" in link or link.startswith("#"):
            return match[0]
        path = posixpath.normpath(posixpath.join("docs/tutorials", link))
        return f"{mark}[{words}]({IMAGES if mark else REPOSITORY}/{path})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", whole, text)


if __name__ == "__main__":
    nbformat.write(notebook(), PAGE.with_suffix(".ipynb"))
