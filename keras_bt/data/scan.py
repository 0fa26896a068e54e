"""Examines all files of a folder before training, and stores the result in an index."""

import concurrent.futures
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import PIL
import tensorflow as tf

from keras_bt._support.progress_bar import progress_bar
from keras_bt.data import files, stored_index
from keras_bt.data.files import MAX_PIXELS, FileRecord

CHECKS = ("header", "decode")
FILES_PER_TASK = 64
FIELDS = FileRecord._fields

Records = dict[str, FileRecord]


def scan(
    paths: Sequence[str],
    root: str,
    index: str | os.PathLike[str] | None = None,
    max_pixels: int = MAX_PIXELS,
    check: str = "decode",
) -> list[FileRecord]:
    """Examines files in parallel. After two seconds a progress bar appears.

    Args:
        paths: Files below `root`.
        root: A folder.
        index: File that stores the result, or None. A file with the same size and time as in
            the index is not read again.
        max_pixels: See `files.examine`.
        check: "header", or "decode" to decode each file; see `files.examine_header`.

    Returns:
        One record per path.

    Raises:
        ValueError: If `max_pixels` is out of range.

    Example:
        >>> [record.problem for record in scan(["/nowhere/cat.jpg"], "/nowhere")]
        ['no such file or directory']
    """
    files.check_max_pixels(max_pixels)
    header = _header(root, max_pixels)
    known = _read(index, header)
    records: Records = {}
    try:
        for path, record in _examined(paths, root, known, max_pixels, check):
            records[path] = record
    finally:  # also after Ctrl-C, so that the next scan continues
        found = records if len(records) == len(paths) else known | records
        if index and found != known:
            _write(index, header, found)
    return list(records.values())


def remember(
    found: Mapping[str, FileRecord],
    root: str,
    index: str | os.PathLike[str] | None,
    max_pixels: int,
) -> None:
    """Stores what has become known since a scan, so that the next start need not decode again.

    Args:
        found: Records by path.
        root: See `scan`.
        index: See `scan`.
        max_pixels: See `scan`.
    """
    if not index:
        return
    header = _header(root, max_pixels)
    known = _read(index, header)
    start = len(os.path.join(root, ""))
    records = known | {path[start:]: record for path, record in found.items()}
    if records != known:
        _write(index, header, records)


def check_name(check: str) -> None:
    """Rejects a check that does not exist."""
    if check not in CHECKS:
        raise ValueError(f'check must be "header" or "decode", got {check!r}.')


def _examined(
    paths: Sequence[str], root: str, known: Records, max_pixels: int, check: str
) -> Iterator[tuple[str, FileRecord]]:
    """Yields each path relative to `root` with its record, in the order of the paths."""
    start = len(os.path.join(root, ""))

    def examine_all(part: Sequence[str]) -> list[tuple[str, FileRecord]]:
        return [
            (path[start:], _examine(path, known.get(path[start:]), max_pixels, check))
            for path in part
        ]

    parts = [paths[i : i + FILES_PER_TASK] for i in range(0, len(paths), FILES_PER_TASK)]
    pool = concurrent.futures.ThreadPoolExecutor()
    bar = progress_bar(desc="examining images", total=len(paths), unit="image", delay=2.0)
    try:
        with bar, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about files that it can read
            for examined in pool.map(examine_all, parts):
                yield from examined
                bar.update(len(examined))
    finally:
        pool.shutdown(cancel_futures=True)


def _examine(path: str, record: FileRecord | None, max_pixels: int, check: str) -> FileRecord:
    """The known record if it says enough and the file has not changed, otherwise a new one."""
    examine = files.examine if check == "decode" else files.examine_header
    # A file whose body is bad is not bad for a check of headers: an index must not change what
    # a check finds.
    if record and record.kind != {"decode": "unread", "header": "bad"}[check]:
        try:
            status = os.stat(path)
        except OSError:
            return examine(path, max_pixels)
        if (status.st_size, status.st_mtime_ns) == (record.size_bytes, record.mtime_ns):
            return record
    return examine(path, max_pixels)


def _header(root: str, max_pixels: int) -> dict[str, Any]:
    """What an index is valid for."""
    return {
        "index": "keras_bt images 2",
        "root": root,
        "max_pixels": max_pixels,
        "decoders": [PIL.__version__, tf.__version__],
    }


def _read(index: str | os.PathLike[str] | None, header: dict[str, Any]) -> Records:
    """Records by path, from the index."""
    columns = stored_index.read(index, header, ("path", *FIELDS))
    return {
        path: FileRecord(size, time, checksum, sys.intern(kind), problem)  # JSON repeats texts
        for path, size, time, checksum, kind, problem in zip(*columns, strict=True)
    }


def _write(index: str | os.PathLike[str], header: dict[str, Any], records: Records) -> None:
    """Writes the index."""
    columns = {name: [getattr(record, name) for record in records.values()] for name in FIELDS}
    stored_index.write(index, header, {"path": list(records), **columns})
