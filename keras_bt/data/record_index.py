"""Examines all TFRecord files before training, and stores where their images are in an index."""

import concurrent.futures
import contextlib
import functools
import os
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_bt._support.progress_bar import progress_bar
from keras_bt.data import stored_index
from keras_bt.data.files import UnreadableError, check_decodes
from keras_bt.data.images import problems_message
from keras_bt.data.patterns import is_local
from keras_bt.data.record_fields import (
    HEAD_BYTES,
    Label,
    Read,
    find_image,
    local_records,
    record_length,
)

IMAGE_KEYS, LABEL_KEYS = ("image", "image/encoded"), ("label", "image/class/label")
GZIP_START, ZLIB_STARTS = b"\x1f\x8b", (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
UNREAD = -1  # instead of a checksum


class Keys(NamedTuple):
    """The keys of image and label in all records."""

    image: str
    label: str | None


class Shard(NamedTuple):
    """A TFRecord file and its images.

    Positions are those in the uncompressed file. Checksums are CRC-32 of images that were
    decoded, and `UNREAD` for others.
    """

    size_bytes: int
    mtime_ns: int
    compression: str  # as `tf.data.TFRecordDataset` names it
    offsets: list[int]
    lengths: list[int]
    checksums: list[int]
    labels: list[Label]

    @property
    def is_decoded(self) -> bool:
        """Whether all images were decoded."""
        return UNREAD not in self.checksums


def find_keys(files: Sequence[str]) -> Keys:
    """The keys of the first record that can be read.

    Args:
        files: Paths of TFRecord files.

    Raises:
        ValueError: If there is no record, or it is no `tf.train.Example` with an image.
    """
    for file in files:
        if (first := _first_record(file)) is not None:
            break
    else:
        raise ValueError(f"{', '.join(files[:10])}: no TFRecord can be read.")
    try:
        keys = set(tf.train.Example.FromString(first).features.feature)
    except DecodeError as error:
        raise ValueError(f"{file}: its records are not tf.train.Examples.") from error
    image_key = next((key for key in IMAGE_KEYS if key in keys), None)
    if image_key is None:
        raise ValueError(
            f"{file} has records with keys {sorted(keys)}; the image key must be 'image' or "
            "'image/encoded'."
        )
    return Keys(image_key, next((key for key in LABEL_KEYS if key in keys), None))


def index_records(
    files: Sequence[str],
    keys: Keys,
    index: str | os.PathLike[str] | None = None,
    check: str = "header",
) -> list[Shard]:
    """Examines TFRecord files in parallel. After two seconds a progress bar appears.

    Args:
        files: Paths of TFRecord files.
        keys: See `find_keys`.
        index: File that stores the result, or None. A file with the same size and time as in
            the index is not read again.
        check: "header", or "decode" to decode each image. Those of files that are compressed or
            on another machine are decoded anyway, because training cannot replace them.

    Returns:
        One shard per file.

    Raises:
        ValueError: If records are damaged or have no image. The message lists the first ten.
        OSError: If a file cannot be read.
    """
    header = {"index": "keras_bt records 1", "keys": list(keys), "decoders": [tf.__version__]}
    known = _read(index, header)
    shards: dict[str, Shard] = {}
    problems: list[str] = []
    records = 0
    pool = concurrent.futures.ThreadPoolExecutor()
    bar = progress_bar(desc="examining TFRecords", total=len(files), unit="file", delay=2.0)
    try:
        with bar:
            examine = functools.partial(_known_or_new, known=known, keys=keys, check=check)
            for file, (shard, found) in zip(files, pool.map(examine, files), strict=True):
                records += len(shard.labels)
                problems += found
                if not found:
                    shards[file] = shard
                bar.update()
    finally:  # also after Ctrl-C, so that the next start continues
        pool.shutdown(cancel_futures=True)
        found_all = shards if len(shards) == len(files) else known | shards
        if index and found_all != known:
            _write(index, header, found_all)
    if problems:
        raise ValueError(problems_message("records", records + len(problems), problems))
    return [shards[file] for file in files]


def _known_or_new(
    file: str, known: dict[str, Shard], keys: Keys, check: str
) -> tuple[Shard, list[str]]:
    """The known shard if it says enough and the file has not changed, otherwise a new one."""
    status = tf.io.gfile.stat(file)
    shard = known.get(file)
    now = (status.length, status.mtime_nsec)
    if shard and shard[:2] == now and (check == "header" or shard.is_decoded):
        return shard, []
    return _examine(file, *now, keys, check)


def _examine(
    file: str, size_bytes: int, mtime_ns: int, keys: Keys, check: str
) -> tuple[Shard, list[str]]:
    """The images of a file, and what is wrong with its records."""
    compression = _compression(file)
    decoded = check == "decode" or bool(compression) or not is_local(file)
    shard = Shard(size_bytes, mtime_ns, compression, [], [], [], [])
    problems = []
    number = 0
    try:
        records = _streamed(file, compression) if decoded else local_records(file)
        for number, (read, start, end) in enumerate(records, start=1):
            try:
                place = find_image(read, start, end, *keys)
                checksum = UNREAD
                if decoded:
                    encoded = read(place.offset, place.length)
                    checksum = zlib.crc32(encoded)
                    _check(encoded, keys.image)
            except UnreadableError as error:
                problems.append(f"{file}, record {number}: {error}")
                continue
            shard.offsets.append(place.offset)
            shard.lengths.append(place.length)
            shard.checksums.append(checksum)
            shard.labels.append(place.label)
    except tf.errors.OpError:
        problems.append(f"{file}, after record {number}: damaged or cut off")
    return shard, problems


def _check(encoded: bytes, image_key: str) -> None:
    """Decodes an image, to detect damage."""
    try:
        check_decodes(encoded)
    except UnreadableError as error:
        raise UnreadableError(f"no readable image at the key {image_key!r}") from error


def _streamed(file: str, compression: str) -> Iterator[tuple[Read, int, int]]:
    """Like `local_records`, for any file; reads all of it and compares its checksums."""
    start = HEAD_BYTES
    for record in tf.data.TFRecordDataset(file, compression).as_numpy_iterator():
        yield functools.partial(_slice, record, start), start, start + len(record)
        start += len(record) + HEAD_BYTES + 4


def _slice(record: bytes, start: int, position: int, count: int) -> bytes:
    """Bytes of a record that starts at a position of its file."""
    return record[position - start : position - start + count]


def _compression(file: str) -> str:
    """The compression of a file, as `tf.data.TFRecordDataset` names it."""
    with contextlib.suppress(tf.errors.OpError), tf.io.gfile.GFile(file, "rb") as content:
        head = content.read(HEAD_BYTES)
        # First without: the length of its first record may begin like a compressed file.
        if record_length(head) is None:
            start = head[:2]
            return "GZIP" if start == GZIP_START else "ZLIB" if start in ZLIB_STARTS else ""
    return ""


def _first_record(file: str) -> bytes | None:
    """The first record of a file; None if it cannot be read."""
    with contextlib.suppress(tf.errors.OpError):
        dataset = tf.data.TFRecordDataset(file, _compression(file))
        return next(dataset.as_numpy_iterator(), None)
    return None


def _read(index: str | os.PathLike[str] | None, header: dict[str, object]) -> dict[str, Shard]:
    """Shards by path, from the index."""
    columns = stored_index.read(index, header, ("path", *Shard._fields))
    shards = {path: Shard(*row) for path, *row in zip(*columns, strict=True)}
    for shard in shards.values():  # JSON has no bytes
        shard.labels[:] = [
            label.encode("latin-1") if isinstance(label, str) else label for label in shard.labels
        ]
    return shards


def _write(
    index: str | os.PathLike[str], header: dict[str, object], shards: dict[str, Shard]
) -> None:
    """Writes the index."""
    rows = [
        shard._replace(
            labels=[
                label.decode("latin-1") if isinstance(label, bytes) else label
                for label in shard.labels
            ]
        )
        for shard in shards.values()
    ]
    columns = {name: [getattr(row, name) for row in rows] for name in Shard._fields}
    stored_index.write(index, header, {"path": list(shards), **columns})
