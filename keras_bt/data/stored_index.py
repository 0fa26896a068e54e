"""Reads and writes an index: columns of what is known of the images, in a compressed file."""

import gzip
import json
import logging
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_bt._support import atomic


def read(
    index: str | os.PathLike[str] | None, header: Mapping[str, Any], names: Sequence[str]
) -> list[list[Any]]:
    """Reads columns of an index.

    Args:
        index: The file, or None.
        header: What the index must be valid for.
        names: Names of the columns.

    Returns:
        The columns, all of one length. They are empty if there is no such file, or it is
        damaged, or has another header.
    """
    nothing: list[list[Any]] = [[] for _ in names]
    if not index:
        return nothing
    try:
        with gzip.open(index, "rt", encoding="ascii") as file:
            found = json.load(file)
        if found["header"] != header:
            return nothing
        columns = [found[name] for name in names]
        return columns if len({len(column) for column in columns}) == 1 else nothing
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
        return nothing


def write(
    index: str | os.PathLike[str], header: Mapping[str, Any], columns: Mapping[str, Sequence[Any]]
) -> None:
    """Writes an index; a failure is a warning.

    Args:
        index: The file.
        header: See `read`; JSON can hold it.
        columns: Columns by name; JSON can hold them.
    """
    # In columns: JSON and gzip take longer for a million small rows.
    text = json.dumps({"header": header, **columns})
    try:
        with atomic.replacing(Path(index)) as aside, gzip.open(aside, "wt", 1, "ascii") as file:
            file.write(text)
    except OSError as error:
        logging.getLogger(__name__).warning("%s The next start reads all images again.", error)
