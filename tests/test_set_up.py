"""`make` finds a Python and installs what a target needs; the package's metadata."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import metadata, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(*arguments):
    return subprocess.run(["make", "-C", ROOT, *arguments], capture_output=True, text=True)


def fake_python(folder, name, version):
    """A program that answers like a Python of this version."""
    path = folder / name
    path.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'import sys; sys.version_info = {version}\n'\"$2\"\n"
    )
    path.chmod(0o755)
    return str(path)


def test_the_first_suitable_python_is_taken(tmp_path):
    names = [str(tmp_path / "missing"), fake_python(tmp_path, "old", (3, 10, 9))]
    names += [fake_python(tmp_path, "new", (3, 14, 0)), fake_python(tmp_path, "fits", (3, 12, 1))]
    plan = make("--dry-run", "pretrain", f"PYTHONS={' '.join(names)}", f"VENV={tmp_path}/venv")
    assert f"{tmp_path}/fits -m venv {tmp_path}/venv\n" in plan.stdout


def test_without_a_suitable_python_make_says_so(tmp_path):
    old = fake_python(tmp_path, "old", (3, 10, 9))
    done = make("pretrain", f"PYTHONS={old}", f"VENV={tmp_path}/venv")
    assert done.returncode == 2
    expected = f"keras_bt needs Python 3.11, 3.12 or 3.13; none of {old} is one. Install one, or "
    assert expected + "name it: make PYTHON=/path/to/python3\n" in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.slow
def test_pretraining_needs_no_tools_of_development(tmp_path):
    installed = f"VENV={tmp_path}/venv"
    assert "--editable .\n" in make("--dry-run", "pretrain", installed).stdout
    assert "[dev]" not in make("--dry-run", "pretrain", installed).stdout
    assert "--editable '.[dev]'\n" in make("--dry-run", "test", installed).stdout


def test_extras_and_bounds_are_those_of_the_documentation():
    extras = metadata("keras-bt").get_all("Provides-Extra")
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    assert set(extras) == set(
        re.findall(r"^\| `(\w+)`[: ]", text[text.index("## Dependencies") :], re.M)
    )
    needs = requires("keras-bt")
    for name in ("keras", "tensorflow"):  # their private API is used
        assert any(re.match(rf"{name}[<>=\d.]*,?<|{name}<", need) for need in needs), name
    assert 'tensorflow[and-cuda]; extra == "cuda"' in needs
