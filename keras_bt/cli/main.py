"""`keras-bt COMMAND --flag=value`: finds the command and runs it."""

import difflib
import importlib
import sys
from collections.abc import Sequence

from keras_bt._support.version import __version__
from keras_bt.cli.command import REFUSED, Command

COMMANDS = (
    "pretrain",
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
    """The command line.

    Args:
        arguments: The name of a command and what follows it; None for this process's.

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
            f"keras-bt: there is no command {name!r}{hint} There are {', '.join(COMMANDS)}.",
            file=sys.stderr,
        )
        return REFUSED
    return find_command(name).main(rest)


def find_command(name: str) -> Command:
    """The command of a name in `COMMANDS`, from the file of that name."""
    return importlib.import_module(f"keras_bt.cli.{name.replace('-', '_')}").COMMAND


def overview() -> str:
    """The commands, one line each."""
    lines = [f"  {name:13} {find_command(name).summary}" for name in COMMANDS]
    return "\n".join(
        [
            "Barlow Twins self-supervised pretraining: images without labels in, an encoder out.",
            "",
            "  keras-bt COMMAND --flag=value ...",
            "",
            *lines,
            "",
            "keras-bt COMMAND --help describes a command. A first run, in about two minutes:",
            "keras-bt pretrain --recipe=digits",
        ]
    )
