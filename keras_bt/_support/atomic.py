"""Atomic writes of files and folders."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from keras_bt._support.errors import first_line

# Names of temporary files: a prefix with the process number, and a suffix for replaced folders.
TEMPORARY, REPLACED = ".keras_bt-", ".replaced"


class WriteError(OSError):
    """A file or folder could not be written.

    The message names the path, the reason, the free space and the space needed.
    """

    def __init__(
        self, path: Path, error: OSError | tf.errors.OpError, needed_bytes: int | None = None
    ) -> None:
        space = f"{megabytes(free_bytes(path))} are free"
        if needed_bytes is not None:
            space += f", about {megabytes(needed_bytes)} are needed"
        super().__init__(f"{path} could not be written: {_reason(error)}; {space}.")


@contextlib.contextmanager
def replacing(path: Path, needed_bytes: int | None = None) -> Iterator[Path]:
    """Yields a temporary path, and moves it to its place when the block succeeds.

    Args:
        path: File or folder to write. Missing parents are made.
        needed_bytes: Approximate size of the content, for the error message.

    Yields:
        A path in the same folder with the same suffix. The block makes a file or folder there.

    Raises:
        WriteError: If writing fails. An earlier file or folder at `path` is unchanged.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "a.txt")
        >>> with replacing(path) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> path.read_text()
        'whole'
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(temporary)  # a killed process may have had the same number
        yield temporary
        _flush(temporary)
        _move(temporary, path)
    except (OSError, tf.errors.OpError) as error:
        raise WriteError(path, error, needed_bytes) from error
    finally:
        remove(temporary)


def write_text(path: Path, text: str) -> None:
    """Writes a file completely or not at all.

    Args:
        path: The file.
        text: Its content. Lone surrogates, as in undecodable file names, are kept.

    Raises:
        WriteError: See `replacing`.
    """
    encoded = text.encode("utf-8", "surrogateescape")
    with replacing(path, len(encoded)) as temporary:
        temporary.write_bytes(encoded)


def append_text(path: Path, text: str) -> None:
    """Appends to a file completely or not at all.

    Args:
        path: The file.
        text: What to append.

    Raises:
        WriteError: If writing fails. The file is unchanged.
    """
    encoded = text.encode()
    try:
        with path.open("ab", buffering=0) as file:
            size = file.tell()
            if file.write(encoded) != len(encoded):
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise WriteError(path, error, len(encoded)) from error


def clean_up(folder: Path) -> None:
    """Removes the temporary files of killed processes.

    A folder that was being replaced gets its old content back.

    Args:
        folder: The folder. No other process may be writing to it.
    """
    for replaced in folder.glob(f"{TEMPORARY}*{REPLACED}"):
        name = replaced.name.removeprefix(TEMPORARY).removesuffix(REPLACED).partition("-")[2]
        if not (folder / name).exists():  # killed between the two renames of `_move`
            replaced.rename(folder / name)
    for unfinished in folder.glob(f"{TEMPORARY}*"):
        remove(unfinished)


def remove(path: Path) -> None:
    """Removes a file or folder if it exists; ignores errors."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _flush(path: Path) -> None:
    """Writes cached content to the disk, so that no rename comes before it."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _move(temporary: Path, path: Path) -> None:
    """Renames to the final path, replacing what is there."""
    if not path.is_dir():
        temporary.replace(path)
        return
    # A folder cannot be replaced in one step: the old one is moved away first.
    old = temporary.with_name(temporary.name + REPLACED)
    path.rename(old)
    try:
        temporary.rename(path)
    except BaseException:
        old.rename(path)
        raise
    remove(old)


def _reason(error: OSError | tf.errors.OpError) -> str:
    """The operating system's message of an error; TensorFlow's message contains it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = str(error)
    for number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES):
        if os.strerror(number) in text:
            return os.strerror(number).lower()
    return first_line(error)


def free_bytes(path: Path) -> int:
    """Free space at the nearest parent that exists."""
    folder = next(parent for parent in Path(path).absolute().parents if parent.exists())
    return shutil.disk_usage(folder).free


def megabytes(count: int) -> str:
    """A number of bytes as text."""
    return f"{count / 1e6:,.1f} MB"
