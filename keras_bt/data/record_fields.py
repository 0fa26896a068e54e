"""Finds images and labels in TFRecord files without reading the images.

A TFRecord is

    length (8 bytes) | masked CRC-32C of the length (4) | data | masked CRC-32C of the data (4)

and its data is a `tf.train.Example`, nested messages of protocol buffers:

    Example {1: Features {1: entry {1: key, 2: Feature {1: BytesList {1: value}}}, 1: entry ...}}

Source: tensorflow/core/lib/io/record_writer.h, tensorflow/core/example/example.proto, and
https://protobuf.dev/programming-guides/encoding.
"""

import collections
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_bt.data.files import JPEG_START, PNG_START, UnreadableError
from keras_bt.data.shards import Label

LENGTH_BYTES, CRC_BYTES = 8, 4
HEAD_BYTES = LENGTH_BYTES + CRC_BYTES
FIELD_BYTES = 20  # at most: two numbers of ten bytes
WINDOW_BYTES = 4096
IMAGE_STARTS = (JPEG_START, PNG_START, b"GIF8", b"RIFF", b"BM")
VARINT, FIXED64, MESSAGE, FIXED32 = 0, 1, 2, 5  # wire types

Read = Callable[[int, int], bytes]  # position and number of bytes; fewer at the end


class Place(NamedTuple):
    """Where the bytes of an image are, and its label."""

    offset: int
    length: int
    label: Label


def record_length(head: bytes) -> int | None:
    """The length of a record by the first 12 bytes before it; None if they are damaged.

    Example:
        >>> record_length(bytes.fromhex("0500000000000000eab2043e"))
        5
        >>> record_length(b"Not a TFRecord")
    """
    length, crc = head[:LENGTH_BYTES], head[LENGTH_BYTES:HEAD_BYTES]
    if len(crc) < CRC_BYTES or int.from_bytes(crc, "little") != _masked_crc(length):
        return None
    return int.from_bytes(length, "little")


def local_records(file: str) -> Iterator[tuple[Read, int, int]]:
    """Yields the start and end of each record, and a function that reads the file around them.

    Args:
        file: A file of this machine, not compressed.

    Raises:
        tf.errors.DataLossError: Where the file is damaged or cut off.
        OSError: If the file cannot be read.
    """
    with open(file, "rb", buffering=0) as opened:
        size, read = os.fstat(opened.fileno()).st_size, _windowed(opened.fileno())
        position = 0
        while position < size:
            length = record_length(read(position, HEAD_BYTES))
            start = position + HEAD_BYTES
            if length is None or start + length + CRC_BYTES > size:
                raise tf.errors.DataLossError(None, None, f"{file} is damaged at {position}")
            yield read, start, start + length
            position = start + length + CRC_BYTES


def find_image(read: Read, start: int, end: int, image_key: str, label_key: str | None) -> Place:
    """Finds the image and the label of a record.

    Args:
        read: Reads the file.
        start: Position of the record.
        end: Position after it.
        image_key: Key of the image.
        label_key: Key of the label, or None.

    Raises:
        UnreadableError: If the record is no `tf.train.Example`, or has no image.
    """
    try:
        features = _features(read, start, end)
        values = []
        if image_key in features:
            for number, *value_list in _fields(read, *features[image_key]):
                if number == 1:
                    values += [place for one, *place in _fields(read, *value_list) if one == 1]
        label = None
        if label_key in features:
            first, last = features[label_key]
            label = _only(tf.train.Feature.FromString(read(first, last - first)))
    except (DecodeError, IndexError, UnicodeDecodeError) as error:
        raise UnreadableError("no tf.train.Example") from error
    if image_key not in features:
        raise UnreadableError(f"no key {image_key!r}, only {sorted(features)}")
    if len(values) != 1 or not read(values[0][0], 4).startswith(IMAGE_STARTS):
        raise UnreadableError(f"no readable image at the key {image_key!r}")
    ((offset, after),) = values
    return Place(offset, after - offset, label)


def _features(read: Read, start: int, end: int) -> dict[str, tuple[int, int]]:
    """Start and end of the `tf.train.Feature` of each key of an Example."""
    found = {}
    for number, *features in _fields(read, start, end):
        for entry_number, *entry in _fields(read, *features) if number == 1 else ():
            if entry_number == 1:
                parts = {part: (first, last) for part, first, last in _fields(read, *entry)}
                first, last = parts.get(1, (start, start))
                found[read(first, last - first).decode()] = parts.get(2, (last, last))
    return found


def _fields(read: Read, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields number, start and end of each nested message, text or byte string of a message."""
    while start < end:
        head = read(start, FIELD_BYTES)
        tag, at = _varint(head, 0)
        wire_type = tag & 7
        if wire_type == MESSAGE:
            length, at = _varint(head, at)
            first, start = start + at, start + at + length
            if start > end:
                raise DecodeError("longer than the message around it")
            yield tag >> 3, first, start
        elif wire_type == VARINT:
            start += _varint(head, at)[1]
        elif wire_type in (FIXED64, FIXED32):
            start += at + (8 if wire_type == FIXED64 else 4)
        else:
            raise DecodeError(f"wire type {wire_type}")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and the position after it."""
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _only(feature: tf.train.Feature) -> Label:
    """The only integer or text of a feature; None if there is none, or several."""
    values = feature.int64_list.value or feature.bytes_list.value
    return values[0] if len(values) == 1 else None


def _windowed(descriptor: int) -> Read:
    """A function that reads a file, and keeps pieces of it for the next calls."""
    # Before and after an image, in each of which some fields are.
    windows = collections.deque([(0, b"")], maxlen=2)

    def read(position: int, count: int) -> bytes:
        for begin, window in windows:
            if begin <= position and position + count <= begin + len(window):
                return window[position - begin : position - begin + count]
        window = os.pread(descriptor, max(count, WINDOW_BYTES), position)
        windows.appendleft((position, window))
        return window[:count]

    return read


def _crc_table() -> list[int]:
    """The remainders of all bytes by the polynomial of CRC-32C."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC_TABLE = _crc_table()


def _masked_crc(content: bytes) -> int:
    """The CRC-32C of a few bytes, masked as in TFRecords."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = CRC_TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
