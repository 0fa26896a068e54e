"""Finds the keys and the images of TFRecord files."""

import contextlib
import functools
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_bt.data.files import UnreadableError, check_decodes
from keras_bt.data.patterns import is_local
from keras_bt.data.record_fields import (
    CRC_BYTES,
    HEAD_BYTES,
    Read,
    find_image,
    local_records,
    record_length,
)
from keras_bt.data.shards import UNREAD, Contents

IMAGE_KEYS, LABEL_KEYS = ("image", "image/encoded"), ("label", "image/class/label")
GZIP_START, ZLIB_STARTS = b"\x1f\x8b", (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


class Keys(NamedTuple):
    """The keys of image and label in all records."""

    image: str
    label: str | None


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


def examine_records(file: str, check: str, keys: Keys) -> tuple[Contents, list[str]]:
    """Finds the images of a TFRecord file.

    Args:
        file: Path of the file.
        check: "header", or "decode" to decode each image. Those of a file that is compressed or
            on another machine are decoded anyway, because training cannot replace them.
        keys: See `find_keys`.

    Returns:
        contents: The images.
        problems: What is wrong with the other records.

    Raises:
        OSError: If the file cannot be read.
    """
    compression = _compression(file)
    decoded = check == "decode" or bool(compression) or not is_local(file)
    contents = Contents(compression, [], [], [], [])
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
            contents.offsets.append(place.offset)
            contents.lengths.append(place.length)
            contents.checksums.append(checksum)
            contents.labels.append(place.label)
    except tf.errors.OpError:
        problems.append(f"{file}, after record {number}: damaged or cut off")
    return contents, problems


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
        start += len(record) + CRC_BYTES + HEAD_BYTES


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
