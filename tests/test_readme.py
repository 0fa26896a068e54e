"""The README's Python runs as it stands, its commands name scripts and flags that exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_python_example(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 1
    run = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", blocks[0]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    accuracy = float(re.search(r"k-NN accuracy: ([\d.]+)", run.stdout)[1])
    assert accuracy > 0.85
    assert tf.saved_model.contains_saved_model(str(tmp_path / "my_encoder"))


def test_example_stays_short():
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    assert len([line for line in block.splitlines() if line.strip()]) <= 20


def test_flags_and_files_it_names_exist():
    for script in re.findall(r"examples/\w+\.py", README):
        assert (ROOT / script).exists(), script
    for page in re.findall(r"\]\((\w+\.md)\)", README):
        assert (ROOT / page).exists(), page
    run = subprocess.run(
        [sys.executable, ROOT / "examples" / "pretrain.py", "--help"],
        capture_output=True,
        text=True,
    )
    for flag in set(re.findall(r"--(\w+)=", README)) - {"encoder"}:
        assert re.search(rf"--(\[no\])?{flag}:", run.stdout), flag
