"""All files of a folder examined before training, and remembered in an index."""

import concurrent.futures
import gzip
import json
import logging
import os
import warnings
import zlib
from pathlib import Path

import PIL
import tensorflow as tf

from keras_bt._support import atomic
from keras_bt._support.progress_bar import progress_bar
from keras_bt.data import files
from keras_bt.data.files import MAX_PIXELS, FileRecord

FILES_A_TASK = 64
FIELDS = FileRecord._fields


def scan(paths, root, index=None, max_pixels=MAX_PIXELS):
    """Examines files, in parallel and with a bar where it takes longer than two seconds.

    Args:
        paths: Strings, the files below `root`.
        root: String, a folder.
        index: Path of a file that remembers the result, or None. Files of the same size
            and time as in it are not read again.
        max_pixels: Int. See `files.examine`.

    Returns:
        List of `FileRecord`, one a path.

    Raises:
        ValueError: If `max_pixels` is out of range.

    Example:
        >>> [record.problem for record in scan(["/nowhere/cat.jpg"], "/nowhere")]
        ['no such file or directory']
    """
    if not 0 < max_pixels <= files.LARGEST_MAX_PIXELS:
        raise ValueError(
            f"max_pixels must be at least 1 and at most {files.LARGEST_MAX_PIXELS}, the limit "
            f"of Pillow, got {max_pixels}."
        )
    header = {
        "index": "keras_bt images 1",
        "root": root,
        "max_pixels": max_pixels,
        "decoders": [PIL.__version__, tf.__version__],
    }
    known = _read(index, header)
    records = {}
    try:
        for path, record in _examined(paths, root, known, max_pixels):
            records[path] = record
    finally:  # what was found out before Ctrl-C need not be found out again
        found = records if len(records) == len(paths) else known | records
        if index and found != known:
            _write(index, header, found)
    return list(records.values())


def _examined(paths, root, known, max_pixels):
    """Pairs of path below `root` and record, in the order of the paths."""
    start = len(os.path.join(root, ""))

    def examine_all(part):
        return [
            (path[start:], _examine(path, known.get(path[start:]), max_pixels)) for path in part
        ]

    parts = [paths[i : i + FILES_A_TASK] for i in range(0, len(paths), FILES_A_TASK)]
    pool = concurrent.futures.ThreadPoolExecutor()
    bar = progress_bar(desc="reading images", total=len(paths), unit="image", delay=2.0)
    try:
        with bar, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of files that it reads nevertheless
            for examined in pool.map(examine_all, parts):
                yield from examined
                bar.update(len(examined))
    finally:
        pool.shutdown(cancel_futures=True)


def _examine(path, record, max_pixels):
    if record:
        try:
            status = os.stat(path)
        except OSError:
            return files.examine(path, max_pixels)
        if (status.st_size, status.st_mtime_ns) == (record.size_bytes, record.mtime_ns):
            return record
    return files.examine(path, max_pixels)


def _read(index, header):
    """Records by path; none from an index that is damaged or of something else."""
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


def _write(index, header, records):
    # In columns, for JSON and gzip take longer over a million small rows.
    columns = {name: [getattr(record, name) for record in records.values()] for name in FIELDS}
    text = json.dumps({"header": header, "path": list(records), **columns})
    try:
        with atomic.replacing(Path(index)) as aside, gzip.open(aside, "wt", 1, "ascii") as file:
            file.write(text)
    except OSError as error:
        logging.getLogger(__name__).warning("%s Images are read again at the next start.", error)
