"""Examines files that hold many images before training, and stores the result in an index."""

import concurrent.futures
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_bt._support.progress_bar import progress_bar
from keras_bt.data import stored_index
from keras_bt.data.images import problems_message

UNREAD = -1  # instead of a checksum

Label = Any  # int, bytes or None


class Contents(NamedTuple):
    """The images of a file.

    Positions are those in the uncompressed file. Checksums are CRC-32 of images that were
    decoded, and `UNREAD` for others.
    """

    compression: str  # as `tf.data.TFRecordDataset` names it
    offsets: list[int]
    lengths: list[int]
    checksums: list[int]
    labels: list[Label]


class Shard(NamedTuple):
    """A file when it was examined, and its images."""

    size_bytes: int
    mtime_ns: int
    contents: Contents

    @property
    def is_decoded(self) -> bool:
        """Whether all images were decoded."""
        return UNREAD not in self.contents.checksums


# Returns the images of a file, and what is wrong with the others.
Examine = Callable[[str, str], tuple[Contents, list[str]]]


def index_shards(
    files: Sequence[str],
    examine: Examine,
    header: Mapping[str, Any],
    index: str | os.PathLike[str] | None = None,
    check: str = "header",
) -> list[Shard]:
    """Examines files in parallel. After two seconds a progress bar appears.

    Args:
        files: Paths.
        examine: Called with a path and `check`.
        header: What an index must be valid for; JSON can hold it.
        index: File that stores the result, or None. A file with the same size and time as in
            the index is not read again.
        check: "header", or "decode" to decode each image.

    Returns:
        One shard per file.

    Raises:
        ValueError: If images are damaged or missing. The message lists the first ten.
        OSError: If a file cannot be read.
    """
    known = _read(index, header)
    shards: dict[str, Shard] = {}
    problems: list[str] = []
    images = 0

    def known_or_new(file: str) -> tuple[Shard, list[str]]:
        status = tf.io.gfile.stat(file)
        now, shard = (status.length, status.mtime_nsec), known.get(file)
        if shard and shard[:2] == now and (check == "header" or shard.is_decoded):
            return shard, []
        contents, found = examine(file, check)
        return Shard(*now, contents), found

    pool = concurrent.futures.ThreadPoolExecutor()
    bar = progress_bar(desc="examining files", total=len(files), unit="file", delay=2.0)
    try:
        with bar:
            for file, (shard, found) in zip(files, pool.map(known_or_new, files), strict=True):
                images += len(shard.contents.labels)
                problems += found
                if not found:
                    shards[file] = shard
                bar.update()
    finally:  # also after Ctrl-C, so that the next start continues
        pool.shutdown(cancel_futures=True)
        whole = shards if len(shards) == len(files) else known | shards
        if index and whole != known:
            _write(index, header, whole)
    if problems:
        raise ValueError(problems_message("records", images + len(problems), problems))
    return [shards[file] for file in files]


def remember(
    checksums: np.ndarray,
    files: Sequence[str],
    header: Mapping[str, Any],
    index: str | os.PathLike[str] | None,
) -> None:
    """Stores which images were decoded, so that the next start need not decode them again.

    Args:
        checksums: int64 [images] of all files in turn; see `Contents`.
        files: See `index_shards`.
        header: See `index_shards`.
        index: See `index_shards`.
    """
    known, first = _read(index, header), 0
    if not index or not set(files) <= known.keys():
        return  # another process has written another index
    for file in files:
        stored = known[file].contents.checksums
        stored[:] = checksums[first : first + len(stored)].tolist()
        first += len(stored)
    if first == len(checksums):
        _write(index, header, known)


def _read(index: str | os.PathLike[str] | None, header: Mapping[str, Any]) -> dict[str, Shard]:
    """Shards by path, from the index."""
    header = {**header, "decoders": [tf.__version__]}
    names = ("path", "size_bytes", "mtime_ns", *Contents._fields)
    shards = {}
    for path, size, time, *row in zip(*stored_index.read(index, header, names), strict=True):
        contents = Contents(*row)
        contents.labels[:] = [  # JSON has no bytes
            label.encode("latin-1") if isinstance(label, str) else label
            for label in contents.labels
        ]
        shards[path] = Shard(size, time, contents)
    return shards


def _write(
    index: str | os.PathLike[str], header: Mapping[str, Any], shards: Mapping[str, Shard]
) -> None:
    """Writes the index."""
    header = {**header, "decoders": [tf.__version__]}
    found = [shard.contents for shard in shards.values()]
    columns: dict[str, list[Any]] = {
        name: [getattr(contents, name) for contents in found] for name in Contents._fields
    }
    columns["labels"] = [
        [label.decode("latin-1") if isinstance(label, bytes) else label for label in labels]
        for labels in columns["labels"]
    ]
    columns["size_bytes"] = [shard.size_bytes for shard in shards.values()]
    columns["mtime_ns"] = [shard.mtime_ns for shard in shards.values()]
    stored_index.write(index, header, {"path": list(shards), **columns})
