"""A command of `keras-bt`: its flags in groups, its help, and its exit status."""

import contextlib
import dataclasses
import logging
import os
import shlex
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from absl import flags
from absl.flags import FlagValues

from keras_bt._support.errors import first_line, python_error

REFUSED = 2  # exit status: the message says what to change; `launch` does not try again
INTERRUPTED = 130  # a shell's status for SIGINT
# Wrong settings, files, images and missing packages. RuntimeError: a check of an export failed.
REFUSALS = (
    ValueError,
    OSError,
    ImportError,
    RuntimeError,
    FloatingPointError,
    zipfile.BadZipFile,
    flags.Error,
)
WIDTH = 100


class FlagGroup:
    """Defines flags of one command under a heading of its help.

    Each method defines a flag of one type: `string`, `integer`, `float`, `bool`, `enum` or `list`.
    Its arguments are those of `absl.flags.DEFINE_string` and so on.

    Args:
        values: The flags of the command.
        title: The heading.

    Example:
        >>> values = FlagValues()
        >>> FlagGroup(values, "Images").integer("image_size", 32, "Side, in pixels.", 1)
        >>> _ = values(["pretrain", "--image_size=64"])
        >>> values.image_size
        64
    """

    def __init__(self, values: FlagValues, title: str) -> None:
        self._where: dict[str, Any] = {"flag_values": values, "module_name": title}

    def string(self, name: str, default: str | None, help: str) -> None:
        flags.DEFINE_string(name, default, help, **self._where)

    def integer(self, name: str, default: Any, help: str, *bounds: Any) -> None:
        flags.DEFINE_integer(name, default, help, *bounds, **self._where)

    def float(self, name: str, default: Any, help: str, *bounds: Any) -> None:
        flags.DEFINE_float(name, default, help, *bounds, **self._where)

    def bool(self, name: str, help: str) -> None:
        flags.DEFINE_bool(name, False, help, **self._where)

    def enum(self, name: str, default: str, allowed: Sequence[str], help: str) -> None:
        flags.DEFINE_enum(name, default, list(allowed), help, **self._where)

    def list(self, name: str, default: Sequence[str] | None, help: str) -> None:
        flags.DEFINE_list(name, default, help, **self._where)


@dataclasses.dataclass(frozen=True)
class Invocation:
    """One call of a command.

    Args:
        flags: The values of its flags.
        arguments: The arguments that are not flags.
        command_line: The whole command as text, for run.json and the ledger.
        started: `time.monotonic()` at its beginning: in a process of its own, before it imported
            TensorFlow.
    """

    flags: FlagValues
    arguments: tuple[str, ...]
    command_line: str
    started: float = dataclasses.field(default_factory=time.monotonic)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """A command of `keras-bt`.

    Args:
        name: Name of the command.
        doc: Its help: one line, an empty line, and then examples and an explanation.
        define_flags: Defines the flags of the command.
        run: Does the work, and returns the exit status; None means 0.
        first: The flags that the help shows first.
        required: Flags that must be given.
        exclusive: Groups of flags; at most one of each group may be given.
        arguments: The arguments besides flags, as the help shows them; empty if there are none.

    Example:
        >>> hello = Command(
        ...     name="hello",
        ...     doc="Greets somebody.",
        ...     define_flags=lambda values: FlagGroup(values, "Who").string("to", None, "A name."),
        ...     run=lambda invocation: print("Hello", invocation.flags.to),
        ...     required=("to",),
        ... )
        >>> hello.main(["--to=you"])
        Hello you
        0
    """

    name: str
    doc: str
    define_flags: Callable[[FlagValues], None]
    run: Callable[[Invocation], int | None]
    first: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    exclusive: tuple[tuple[str, ...], ...] = ()
    arguments: str = ""

    @property
    def summary(self) -> str:
        """The first line of the help."""
        return self.doc.strip().splitlines()[0]

    def main(self, arguments: Sequence[str], started: float | None = None) -> int:
        """Runs the command.

        Args:
            arguments: The arguments after the name of the command.
            started: See `Invocation`; None for now.

        Returns:
            Exit status: 0, 2 for one of `REFUSALS` or an OSError inside `tf.data`, 130 after
            Ctrl-C, or that of `run`.
        """
        values = self._new_flags()
        started = time.monotonic() if started is None else started
        try:
            rest = values([self.name, *arguments])[1:]
            if values.help or values.helpfull:
                print(self.help(values))
                return 0
            self._check(values, rest)
            with _log_on_stderr():
                line = shlex.join(["keras-bt", self.name, *arguments])
                return self.run(Invocation(values, tuple(rest), line, started)) or 0
        except BrokenPipeError:  # `keras-bt ... | head` closes the pipe early
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except REFUSALS as error:
            self.print_error(error)
            return REFUSED
        except tf.errors.OpError as error:
            if (message := python_error(error)) is None:
                raise
            self.print_error(OSError(message))
            return REFUSED
        except KeyboardInterrupt:
            return INTERRUPTED

    def print_error(self, error: BaseException) -> None:
        """Prints an error on stderr, after the name of the command."""
        print(f"keras-bt {self.name}: {first_line(error)}", file=sys.stderr)

    def help(self, values: FlagValues) -> str:
        """The help: the description, then the flags, those of `first` before the others."""
        groups = _by_title(values)
        usage = f"keras-bt {self.name} {self.arguments or '[--flag=value ...]'}".rstrip()
        parts = [f"{usage}\n\n{textwrap.dedent(self.doc).strip()}"]
        for wanted, heading in ((True, ""), (False, "More flags")):
            chosen = {
                title: [flag for flag in found if (flag.name in self.first) == wanted]
                for title, found in groups.items()
            }
            parts += [heading] if heading and self.first and any(chosen.values()) else []
            for title, found in chosen.items():
                if found:
                    parts.append("\n".join([f"{title}:", *map(_flag_help, found)]))
        parts.append("--flagfile=FILE reads flags from a file, one per line.")
        return "\n\n".join(parts)

    def flags_by_title(self) -> dict[str, list[flags.Flag]]:
        """The flags under each heading of the help."""
        return _by_title(self._new_flags())

    def _new_flags(self) -> FlagValues:
        values = FlagValues()
        self.define_flags(values)
        for name in ("help", "helpfull"):
            flags.DEFINE_bool(name, False, "Print the help and exit.", flag_values=values)
        flags.DEFINE_string("flagfile", "", "Read flags from this file.", flag_values=values)
        return values

    def _check(self, values: FlagValues, rest: Sequence[str]) -> None:
        if rest and not self.arguments:
            raise ValueError(f"unexpected arguments {rest}; write flags as --name=value.")
        for name in self.required:
            if values[name].value is None:
                raise ValueError(f"--{name} is missing: {values[name].help}")
        for names in self.exclusive:
            given = [f"--{name}" for name in names if values[name].value is not None]
            if len(given) > 1:
                raise ValueError(f"{' and '.join(given)} cannot be combined; give only one.")


_COMMON = ("help", "helpfull", "flagfile")


def _by_title(values: FlagValues) -> dict[str, list[flags.Flag]]:
    """The flags under each heading, without those that every command has."""
    return {
        title: chosen
        for title, found in values.flags_by_module_dict().items()
        if (chosen := [flag for flag in found if flag.name not in _COMMON])
    }


@contextlib.contextmanager
def _log_on_stderr() -> Iterator[None]:
    """Shows messages of the package while a command runs; restores logging afterwards."""
    logger = logging.getLogger("keras_bt")
    level, propagate = logger.level, logger.propagate
    handler = _Handler()
    handler.setFormatter(_Formatter())
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


class _Handler(logging.StreamHandler):
    """Writes messages on lines of their own, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        if "tqdm" not in sys.modules:
            super().emit(record)
            return
        from tqdm import tqdm

        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)


class _Formatter(logging.Formatter):
    """Formats the message alone; warnings and errors begin with their level."""

    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        level = record.levelname.capitalize()
        return f"{level}: {message}" if record.levelno >= logging.WARNING else message


def describe_flag(flag: flags.Flag) -> tuple[str, str, str]:
    """Returns how a flag is given, its default as text, and its help."""
    kind = flag.flag_type()
    if kind == "bool":
        given = f"--[no]{flag.name}" if flag.default else f"--{flag.name}"
    elif isinstance(flag, flags.EnumFlag):
        given = f"--{flag.name}={'|'.join(flag.parser.enum_values)}"
    else:
        letters = {"int": "N", "float": "X", "comma separated list of strings": "A,B"}
        given = f"--{flag.name}={letters.get(kind, 'TEXT')}"
    default = "" if kind == "bool" else (flag.default_as_str or "").strip("'")
    return given, default, flag.help.split(">: ", 1)[-1]  # absl puts <the|values> of an enum first


def _flag_help(flag: flags.Flag) -> str:
    given, default, text = describe_flag(flag)
    if default:
        text += f" Default: {default}."
    indented = textwrap.fill(text, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return f"  {given}\n{indented}"
