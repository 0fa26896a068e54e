"""Documentation examples: each in a folder of its own, wherever pytest starts. Slow tests."""

import os
import time
from pathlib import Path

import pytest

# What `import keras_bt` does before TensorFlow is imported: test modules import TensorFlow first.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

SLOW_EXAMPLES = {  # those that train or convert a ResNet
    "keras_bt.export.litert.export_litert",
    "keras_bt.export.onnx.export_onnx",
    "keras_bt.export.saved_model.export_encoder",
    "keras_bt.model.barlow_twins.BarlowTwins",
    "keras_bt.model.view_placement.ViewsAhead",
    "keras_bt.run.pretraining.Pretraining",
    "keras_bt.training.resumable.ResumableTraining",
}
PYTORCH_FILE = Path(__file__).parent / "tests" / "golden" / "resnet18_width2.pth"
STARTED = time.monotonic()


def pytest_addoption(parser):
    """For tests in limited time."""
    parser.addoption("--seconds", type=float, help="Tests that would begin later are skipped.")
    parser.addoption("--first", type=int, default=0, help="Number of the test to begin with.")


def pytest_collection_modifyitems(config, items):
    """Marks slow examples, and begins with the test that is asked for."""
    for item in items:
        if item.name in SLOW_EXAMPLES:
            item.add_marker("slow")
    first = config.getoption("first") % max(1, len(items))
    items[:] = items[first:] + items[:first]


def pytest_runtest_setup(item):
    """Skips a test for which there is no time left."""
    seconds = item.config.getoption("seconds")
    if seconds is not None and time.monotonic() - STARTED > seconds:
        pytest.skip("no time left")


@pytest.fixture(autouse=True)
def folder_of_example(request):
    """Changes to a folder that holds only the file that examples name."""
    if isinstance(request.node, pytest.DoctestItem):
        folder = request.getfixturevalue("tmp_path")
        (folder / "resnet18.pth").symlink_to(PYTORCH_FILE)
        request.getfixturevalue("monkeypatch").chdir(folder)
