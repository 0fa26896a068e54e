"""`keras-bt COMMAND --flag=value`: finds the command and runs it.

A new command needs a file of its name in this folder, with a `COMMAND` (see `command.Command`). Its
name must be in `COMMANDS` below.
"""

import difflib
import importlib
import sys
from collections.abc import Sequence

from keras_bt._support import start_up
from keras_bt._support.version import __version__
from keras_bt.cli.command import REFUSED, Command

COMMANDS = (
    "pretrain",
    "prepare",
    "evaluate",
    "finetune",
    "features",
    "neighbors",
    "export",
    "import-torch",
    "views",
    "report",
    "launch",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command of the command line.

    Args:
        arguments: The name of a command and its arguments; None for those of this process.

    Returns:
        Exit status, see `Command.main`.

    Example:
        >>> main(["--version"])
        keras-bt 0.1.0
        0
    """
    name, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    if name == "--version":
        print(f"keras-bt {__version__}")
        return 0
    if name in ("--help", "-h", "help"):
        if rest and rest[0] in COMMANDS:
            return find_command(rest[0]).main(["--help"])
        print(overview())
        return 0
    if name not in COMMANDS:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.4)
        hint = f"; did you mean {nearest[0]}?" if nearest else "."
        print(
            f"keras-bt: there is no command {name!r}{hint} Available: {', '.join(COMMANDS)}.",
            file=sys.stderr,
        )
        return REFUSED
    # A process has one command of its own; a program that calls this has other work before it.
    return find_command(name).main(rest, start_up.STARTED if arguments is None else None)


def find_command(name: str) -> Command:
    """Returns a command by its name in `COMMANDS`."""
    return importlib.import_module(f"keras_bt.cli.{name.replace('-', '_')}").COMMAND


def overview() -> str:
    """The commands, one line each."""
    lines = [f"  {name:13} {find_command(name).summary}" for name in COMMANDS]
    return "\n".join(
        [
            "Barlow Twins self-supervised pretraining: trains an encoder on images without labels.",
            "",
            "  keras-bt COMMAND --flag=value ...",
            "",
            *lines,
            "",
            "keras-bt COMMAND --help describes a command. A first run, in two to seven minutes:",
            "keras-bt pretrain --recipe=digits",
        ]
    )
