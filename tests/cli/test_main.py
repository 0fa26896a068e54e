"""The command line without a command, and each command's help."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_bt
from keras_bt.cli.main import COMMANDS, find_command

CLI = Path(keras_bt.__file__).parent / "cli"


def test_lists_all_commands_if_none_is_given(command):
    overview = command()
    assert overview.status == 0
    for name in COMMANDS:
        assert re.search(rf"^  {name} +[A-Z].*\.$", overview.stdout, re.MULTILINE)
    assert command("--help").stdout == command("help").stdout == overview.stdout


def test_version_is_printed(command):
    assert command("--version").stdout == f"keras-bt {keras_bt.__version__}\n"
    assert importlib.metadata.version("keras-bt") == keras_bt.__version__


def test_an_unknown_command_is_refused_with_the_nearest(command):
    refusal = command("pretrian").refusal
    assert "there is no command 'pretrian'; did you mean pretrain? Available: pretrain, " in refusal


def test_every_file_is_a_command_or_shared():
    files = {path.stem for path in CLI.glob("*.py") if not path.stem.endswith(("_flags", "_flag"))}
    commands = {name.replace("-", "_") for name in COMMANDS}
    assert files == {"__init__", "main", "command", "fitting", "preparing", *commands}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_first_flags_before_the_others(command, name):
    text = command(name, "--help").stdout
    assert text.startswith(f"keras-bt {name} ")
    assert command("help", name).stdout == text
    first = find_command(name).first
    assert len(first) <= 10
    positions = [text.index(f"  --{flag}") for flag in first]
    if "More flags" in text:
        assert max(positions) < text.index("More flags")
    assert max(map(len, text.splitlines())) <= 160


@pytest.mark.slow
def test_module_and_console_script_are_the_same_program():
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    module = [sys.executable, "-m", "keras_bt"]
    script = [str(Path(sys.executable).parent / "keras-bt")]
    printed = [
        subprocess.run(
            [*program, "--version"], env=environment, capture_output=True, text=True, check=True
        )
        for program in (module, script)
    ]
    assert printed[0].stdout == printed[1].stdout == f"keras-bt {keras_bt.__version__}\n"
    assert printed[0].stderr == printed[1].stderr == ""
