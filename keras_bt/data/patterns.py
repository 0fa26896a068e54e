"""Finds the files of a pattern, on any file system of TensorFlow."""

import glob
import os
import re

import tensorflow as tf

from keras_bt._support.errors import first_line

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def matching_files(pattern: str | os.PathLike[str]) -> list[str]:
    """The files that a pattern matches; a file or folder with the name of a pattern is itself.

    Args:
        pattern: Path or glob of files, also with the scheme of a file system. A range such as
            {000..123} stands for each number in it.

    Returns:
        Sorted paths, those of this machine absolute.

    Raises:
        ValueError: If no file matches (each number of a range must), or the pattern is a folder.
    """
    pattern = os.path.expanduser(os.fspath(pattern))
    try:
        if tf.io.gfile.isdir(pattern):
            raise ValueError(f"{pattern} is a folder; name its files, as {pattern}/*.tfrecord.")
        if tf.io.gfile.exists(pattern):
            return [_absolute(pattern)]
        if found := RANGE.search(pattern):
            return [file for each in _in_range(pattern, found) for file in matching_files(each)]
        folder, name = os.path.split(pattern)
        literal = folder and tf.io.gfile.isdir(folder)
        escaped = os.path.join(glob.escape(folder), name) if literal else pattern
        files = sorted(tf.io.gfile.glob(escaped))
    except tf.errors.OpError as error:
        raise ValueError(f"{pattern} cannot be read: {first_line(error)}.") from error
    if not files:
        raise ValueError(f"No file matches {pattern}.")
    return [_absolute(file) for file in files]


def is_local(file: str) -> bool:
    """Whether Python itself can open a file; others have the scheme of a file system.

    Example:
        >>> is_local("shards/0.tfrecord"), is_local("gs://bucket/0.tfrecord")
        (True, False)
    """
    return "://" not in file


def _in_range(pattern: str, found: re.Match[str]) -> list[str]:
    """The pattern with each number of a range, with as many digits as the first."""
    first, last = found.groups()
    numbers = range(int(first), int(last) + 1)
    if not numbers:
        raise ValueError(f"No file matches {pattern}: the range {found[0]} is empty.")
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [f"{before}{number:0{len(first)}}{after}" for number in numbers]


def _absolute(file: str) -> str:
    return os.path.abspath(file) if is_local(file) else file
