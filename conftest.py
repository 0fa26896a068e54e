"""Runs documentation examples in a folder of their own, wherever pytest is started."""

from pathlib import Path

import pytest

PYTORCH_FILE = Path(__file__).parent / "tests" / "golden" / "resnet18_width2.pth"


@pytest.fixture(autouse=True)
def folder_of_example(request):
    """Changes to a folder that holds only the file that examples name."""
    if isinstance(request.node, pytest.DoctestItem):
        folder = request.getfixturevalue("tmp_path")
        (folder / "resnet18.pth").symlink_to(PYTORCH_FILE)
        request.getfixturevalue("monkeypatch").chdir(folder)
