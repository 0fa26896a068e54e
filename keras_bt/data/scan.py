"""Examines all files of a folder before training, and stores the result in an index."""

import concurrent.futures
import gzip
import json
import logging
import os
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import PIL
import tensorflow as tf

from keras_bt._support import atomic
from keras_bt._support.progress_bar import progress_bar
from keras_bt.data import files
from keras_bt.data.files import MAX_PIXELS, FileRecord

FILES_PER_TASK = 64
FIELDS = FileRecord._fields

Records = dict[str, FileRecord]


def scan(
    paths: Sequence[str],
    root: str,
    index: str | os.PathLike[str] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[FileRecord]:
    """Examines files in parallel. After two seconds a progress bar appears.

    Args:
        paths: Files below `root`.
        root: A folder.
        index: File that stores the result, or None. A file with the same size and time as in
            the index is not read again.
        max_pixels: See `files.examine`.

    Returns:
        One record per path.

    Raises:
        ValueError: If `max_pixels` is out of range.

    Example:
        >>> [record.problem for record in scan(["/nowhere/cat.jpg"], "/nowhere")]
        ['no such file or directory']
    """
    files.check_max_pixels(max_pixels)
    header = {
        "index": "keras_bt images 1",
        "root": root,
        "max_pixels": max_pixels,
        "decoders": [PIL.__version__, tf.__version__],
    }
    known = _read(index, header)
    records: Records = {}
    try:
        for path, record in _examined(paths, root, known, max_pixels):
            records[path] = record
    finally:  # also after Ctrl-C, so that the next scan continues
        found = records if len(records) == len(paths) else known | records
        if index and found != known:
            _write(index, header, found)
    return list(records.values())


def _examined(
    paths: Sequence[str], root: str, known: Records, max_pixels: int
) -> Iterator[tuple[str, FileRecord]]:
    """Yields each path relative to `root` with its record, in the order of the paths."""
    start = len(os.path.join(root, ""))

    def examine_all(part: Sequence[str]) -> list[tuple[str, FileRecord]]:
        return [
            (path[start:], _examine(path, known.get(path[start:]), max_pixels)) for path in part
        ]

    parts = [paths[i : i + FILES_PER_TASK] for i in range(0, len(paths), FILES_PER_TASK)]
    pool = concurrent.futures.ThreadPoolExecutor()
    bar = progress_bar(desc="reading images", total=len(paths), unit="image", delay=2.0)
    try:
        with bar, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about files that it can read
            for examined in pool.map(examine_all, parts):
                yield from examined
                bar.update(len(examined))
    finally:
        pool.shutdown(cancel_futures=True)


def _examine(path: str, record: FileRecord | None, max_pixels: int) -> FileRecord:
    """The known record if size and time of the file have not changed, otherwise a new one."""
    if record:
        try:
            status = os.stat(path)
        except OSError:
            return files.examine(path, max_pixels)
        if (status.st_size, status.st_mtime_ns) == (record.size_bytes, record.mtime_ns):
            return record
    return files.examine(path, max_pixels)


def _read(index: str | os.PathLike[str] | None, header: dict[str, Any]) -> Records:
    """Records by path; none from an index that is damaged or has another header."""
    if not index:
        return {}
    try:
        with gzip.open(index, "rt", encoding="ascii") as file:
            found = json.load(file)
        if found["header"] != header:
            return {}
        columns = [found[name] for name in ("path", *FIELDS)]
        return {path: FileRecord(*row) for path, *row in zip(*columns, strict=True)}
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
        return {}


def _write(index: str | os.PathLike[str], header: dict[str, Any], records: Records) -> None:
    """Writes the index; a failure is a warning."""
    # In columns: JSON and gzip take longer for a million small rows.
    columns = {name: [getattr(record, name) for record in records.values()] for name in FIELDS}
    text = json.dumps({"header": header, "path": list(records), **columns})
    try:
        with atomic.replacing(Path(index)) as aside, gzip.open(aside, "wt", 1, "ascii") as file:
            file.write(text)
    except OSError as error:
        logging.getLogger(__name__).warning("%s The next start reads all images again.", error)
