"""The README's Python blocks run, and its commands, files and names exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from absl import flags

import keras_bt
from keras_bt.cli.ledger_flag import define_ledger_flag
from keras_bt.cli.main import COMMANDS, find_command
from keras_bt.cli.recipe_flags import define_recipe_flags

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# Each has a test below, so another block needs one too.
TRAIN, RESUME, USE_EXPORT, DEVICES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PROSE = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
CODE = re.findall(r"(?m)^    (.+)$", PROSE) + re.findall(r"`([^`]+)`", PROSE)

ENDPOINTS = ["features", "stride_1", "stride_2", "stride_4", "stride_8"]
SLURM_FLAGS = {"ntasks", "gpus-per-task"}


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
def test_python_blocks_run(tmp_path):
    output = run_block(TRAIN + RESUME + USE_EXPORT, tmp_path)
    assert "epochs: 60 loss: " in output
    assert output.splitlines()[-2:] == ["(1, 128)", str(ENDPOINTS)]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    assert float(re.search(r"k-NN accuracy: ([\d.]+)", output)[1]) > 0.85
    assert tf.saved_model.contains_saved_model(str(tmp_path / "my_encoder"))


@pytest.mark.slow
def test_block_for_several_devices_runs(tmp_path):
    first, *_, last = re.findall(r"loss: ([\d.]+)", run_block(DEVICES, tmp_path))
    assert float(last) < float(first)


def split_command(line):
    """Returns the arguments in a line of code, without its comment and ellipses."""
    return [argument for argument in shlex.split(line, comments=True) if argument != "…"]


def commands_in_readme():
    """Returns (command, arguments) for each use of `keras-bt COMMAND`."""
    found = []
    for code in CODE:
        for name, rest in re.findall(r"(?:^|\s)keras-bt ([a-z][a-z-]*)(.*)", code):
            arguments = split_command(rest)
            if "--" in arguments:
                after = arguments.index("--") + 1
                found.append((arguments[after], arguments[after + 1 :]))
                arguments = arguments[: after - 1]
            found.append((name, arguments))
    return found


def problem_with(values, arguments):
    """Returns why flags refuse arguments, or None. A flag without a value may be any flag."""
    alone = [each[2:] for each in arguments if each.startswith("--") and "=" not in each]
    unknown = [name for name in alone if name not in values]
    try:
        values(["program", *(each for each in arguments if each[2:] not in alone)])
    except flags.Error as error:
        return str(error)
    return f"unknown flags {unknown}" if unknown else None


def flags_of(command):
    return find_command(command)._new_flags()


def flags_of_ablate():
    values = flags.FlagValues()
    define_recipe_flags(values)
    define_ledger_flag(values)
    script = (ROOT / "benchmarks/ablate.py").read_text(encoding="utf-8")
    for name in re.findall(r"flags\.DEFINE_\w+\(\s*\"(\w+)\"", script):
        flags.DEFINE_string(name, None, "", flag_values=values)
    return values


def test_every_command_is_shown():
    assert {name for name, _ in commands_in_readme()} == set(COMMANDS)


def test_commands_accept_their_flags():
    for name, arguments in commands_in_readme():
        assert problem_with(flags_of(name), arguments) is None, (name, arguments)
        if any(not each.startswith("--") for each in arguments):
            assert find_command(name).arguments, (name, arguments)
    for line in CODE:
        if line.startswith("python benchmarks/ablate.py"):
            assert problem_with(flags_of_ablate(), split_command(line)[2:]) is None, line


@pytest.mark.slow
def test_flags_shown_alone_belong_to_a_command():
    shown = [code for code in CODE if re.match(r"--\w", code) and code[2:] not in SLURM_FLAGS]
    assert shown
    for code in shown:
        problems = [problem_with(flags_of(name), split_command(code)) for name in COMMANDS]
        assert None in problems, (code, problems)


def test_all_named_flags_exist():
    known = {name for command in COMMANDS for name in flags_of(command)} | SLURM_FLAGS
    assert set(re.findall(r"--(\w[\w-]*)", README)) - known <= set(flags_of_ablate())


def test_files_exist():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert [link for link in links if link.endswith(".jpg")]
    named = re.findall(r"\b(?:examples|benchmarks|docs|results)/\w+\.\w+", README)
    for path in {*links, *named}:
        assert (ROOT / path).is_file(), path


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"\bmake ((?:pretrain|test|bench)[\w-]*)", README):
        assert f"\n{target}:" in makefile, target


def test_python_names_exist():
    for name in re.findall(r"\bkeras_bt\.([A-Za-z_]\w*)", README):
        assert hasattr(keras_bt, name), name


def test_all_recipes_are_named():
    for name in keras_bt.recipes:
        assert re.search(rf"`(--recipe=)?{name}`", README), name


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md"])
def test_english_is_plain(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert not re.findall(r"\b(?:tells|told|anew|meets)\b", text, re.IGNORECASE)
