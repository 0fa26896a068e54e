"""The README's Python runs as it stands, its commands name scripts and flags that exist."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from keras_bt.config.recipe import Recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

ENDPOINTS = ["features", "stride_1", "stride_2", "stride_4", "stride_8"]
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run_block(block, folder):
    run = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", block],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.slow
def test_python_example(tmp_path):
    output = run_block(BLOCKS[0] + BLOCKS[1] + BLOCKS[2], tmp_path)
    assert "epochs: 60 loss: " in output
    assert output.splitlines()[-2:] == ["(1, 128)", str(ENDPOINTS)]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    assert float(re.search(r"k-NN accuracy: ([\d.]+)", output)[1]) > 0.85
    assert tf.saved_model.contains_saved_model(str(tmp_path / "my_encoder"))


@pytest.mark.slow
def test_example_of_several_devices(tmp_path):
    first, *_, last = re.findall(r"loss: ([\d.]+)", run_block(BLOCKS[3], tmp_path))
    assert float(last) < float(first)


def test_examples_stay_short():
    assert len(BLOCKS) == 4
    for block in BLOCKS:
        assert len([line for line in block.splitlines() if line.strip()]) <= 20


def test_flags_and_files_it_names_exist():
    for script in re.findall(r"examples/\w+\.py", README):
        assert (ROOT / script).exists(), script
    for page in re.findall(r"\]\((\w+\.md)\)", README):
        assert (ROOT / page).exists(), page
    scripts = "".join(path.read_text() for path in (ROOT / "examples").glob("*.py"))
    defined = re.findall(r"flags\.DEFINE_\w+\(\s*\"(\w+)\"", scripts)
    defined += [field.name for field in dataclasses.fields(Recipe)]
    named = set(re.findall(r"--(\w+)", README))
    assert named - set(defined) <= {"help", "workers", "ntasks", "gpus"}
