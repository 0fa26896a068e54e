"""Files and folders that appear whole or not at all."""

import contextlib
import errno
import os
import shutil
from pathlib import Path

import tensorflow as tf

from keras_bt._support.errors import first_line

ASIDE, REPLACED = ".keras_bt-", ".replaced"  # around the process and the name of a file


class WriteError(OSError):
    """What could not be written, why, and how much room there is and would be needed."""

    def __init__(self, path, error, needed_bytes=None):
        room = f"{_megabytes(_free_bytes(path))} are free there"
        if needed_bytes is not None:
            room += f", about {_megabytes(needed_bytes)} are needed"
        super().__init__(f"{path} could not be written: {_reason(error)}; {room}.")


@contextlib.contextmanager
def replacing(path, needed_bytes=None):
    """A path to write to, which takes the place of another when all has gone well.

    Args:
        path: `Path` of the file or folder to write. Its parents are made.
        needed_bytes: Int. About how much is going to be written, for the error's message.

    Yields:
        `Path` beside it, of the same suffix; a file or folder is to be made there.

    Raises:
        WriteError: If it cannot be written; what was at `path` is still there.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "a.txt")
        >>> with replacing(path) as aside:
        ...     _ = aside.write_text("whole")
        >>> path.read_text()
        'whole'
    """
    path = Path(path)
    aside = path.with_name(f"{ASIDE}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(aside)  # of a process of the same number, killed before
        yield aside
        _flush(aside)
        _move(aside, path)
    except (OSError, tf.errors.OpError) as error:
        raise WriteError(path, error, needed_bytes) from error
    finally:
        remove(aside)


def write_text(path, text):
    """Writes a file that appears whole or not at all.

    Args:
        path: `Path`.
        text: String; lone surrogates, as in undecodable file names, are kept.

    Raises:
        WriteError: See `replacing`.
    """
    encoded = text.encode("utf-8", "surrogateescape")
    with replacing(path, len(encoded)) as aside:
        aside.write_bytes(encoded)


def append_text(path, text):
    """Appends to a file all of a text or nothing.

    Args:
        path: `Path`.
        text: String.

    Raises:
        WriteError: If it cannot be written; the file is as it was.
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


def tidy(folder):
    """Clears up what killed processes left half done; no other may be writing there.

    Args:
        folder: `Path`.
    """
    for replaced in folder.glob(f"{ASIDE}*{REPLACED}"):
        name = replaced.name.removeprefix(ASIDE).removesuffix(REPLACED).partition("-")[2]
        if not (folder / name).exists():  # killed between the two renamings
            replaced.rename(folder / name)
    for half_written in folder.glob(f"{ASIDE}*"):
        remove(half_written)


def remove(path):
    """Removes a file or a folder, if it is there and as far as that goes."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _flush(path):
    """Has the disk hold what was written before it is given its name."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _move(aside, path):
    if not path.is_dir():
        aside.replace(path)
        return
    # A folder cannot be replaced in one step: the old one is moved away, then back if the
    # new one does not make it.
    old = aside.with_name(aside.name + REPLACED)
    path.rename(old)
    try:
        aside.rename(path)
    except BaseException:
        old.rename(path)
        raise
    remove(old)


def _reason(error):
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = str(error)
    for number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES):
        if os.strerror(number) in text:
            return os.strerror(number).lower()
    return first_line(error)


def _free_bytes(path):
    there = next(parent for parent in Path(path).absolute().parents if parent.exists())
    return shutil.disk_usage(there).free


def _megabytes(count):
    return f"{count / 1e6:,.1f} MB"
