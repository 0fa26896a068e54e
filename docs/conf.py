"""Settings of the documentation site; `make docs` builds it."""

import runpy
from pathlib import Path

HERE = Path(__file__).parent

project = "keras_bt"
author = "The keras_bt authors"
copyright = "The keras_bt authors"
release = runpy.run_path(str(HERE.parent / "keras_bt/_support/version.py"))["__version__"]

extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
smartquotes = False  # which would make a dash of the two of --flag

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # links to sections are those of GitHub

html_theme = "furo"
html_title = f"keras_bt {release}"
html_theme_options = {
    "source_repository": "https://github.com/keras-bt/keras-bt/",
    "source_branch": "main",
    "source_directory": "docs/",
}
