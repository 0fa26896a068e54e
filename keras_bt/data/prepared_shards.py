"""Shards of prepared images: a TFRecord file, and the list of its images beside it.

    00003.tfrecord   a `tf.train.Example` for each image: image, height, width, path, label
    00003.json       where each image is in that file, and checksums

The list is written last. A shard without a list does not count.
"""

import dataclasses
import hashlib
import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_bt._support import atomic
from keras_bt.data.record_fields import CRC_BYTES, HEAD_BYTES
from keras_bt.data.reduced import ReducedImage

# Place and size of the encoded image in the TFRecord file, its checksum, and its true size.
PLACES = ("offset", "bytes", "crc32", "height", "width")


class DamagedError(ValueError):
    """A shard is missing, damaged or cut off. The message names it."""


@dataclasses.dataclass(frozen=True)
class PreparedShard:
    """The list of a shard.

    Args:
        files: A text that changes with the files and settings that the shard was made of.
        size_bytes: Size of the TFRecord file.
        sha256: Checksum of the TFRecord file.
        names: For each image its path below the folder it came from.
        places: int64 [images, 5], with the columns `PLACES`.
        bad: Files that could not be read, each a path and a reason.
    """

    files: str
    size_bytes: int
    sha256: str
    names: list[str]
    places: np.ndarray
    bad: list[tuple[str, str]]

    def text(self) -> str:
        """The shard as JSON."""
        columns = dict(zip(PLACES, self.places.T.tolist(), strict=True))
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return json.dumps({**fields, "places": columns}) + "\n"

    @classmethod
    def from_text(cls, text: str) -> "PreparedShard":
        """The shard in JSON.

        Raises:
            ValueError: If the text is no such JSON. Also KeyError and TypeError.
        """
        fields = json.loads(text)
        columns = [fields["places"][name] for name in PLACES]
        places = np.array(columns, np.int64).T
        if len(places) != len(fields["names"]):
            raise ValueError("columns of different length")
        bad = [(path, reason) for path, reason in fields["bad"]]
        return cls(**{**fields, "places": places, "bad": bad})


def tfrecord_path(folder: Path, number: int) -> Path:
    """Path of the TFRecord file of a shard."""
    return folder / f"{number:05d}.tfrecord"


def list_path(folder: Path, number: int) -> Path:
    """Path of the list of a shard."""
    return folder / f"{number:05d}.json"


def example_of(image: ReducedImage, path: str, label: str | None) -> bytes:
    """A serialized `tf.train.Example`, the same bytes for the same image.

    Args:
        image: The image.
        path: Its path below the folder it came from.
        label: The name of its class, or None.
    """

    def text(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def number(value: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    features = {
        "image": text(image.encoded),
        "height": number(image.height),
        "width": number(image.width),
        "path": text(os.fsencode(path)),
    }
    if label is not None:
        features["label"] = text(os.fsencode(label))
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def write_shard(
    folder: Path,
    number: int,
    files: str,
    images: Iterable[tuple[str, str | None, ReducedImage | str]],
    needed_bytes: int,
) -> PreparedShard:
    """Writes a shard: first its TFRecord file, then its list, each completely or not at all.

    Args:
        folder: Folder of the shards.
        number: Number of the shard.
        files: See `PreparedShard`.
        images: Path, label and image of each file; instead of the image the reason why a file
            cannot be read.
        needed_bytes: Approximate size, for the error message.

    Raises:
        atomic.WriteError: If writing fails.
    """
    names, places, bad, size_bytes = [], [], [], 0
    with atomic.replacing(tfrecord_path(folder, number), needed_bytes) as aside:
        with tf.io.TFRecordWriter(str(aside)) as writer:
            for path, label, image in images:
                if isinstance(image, str):
                    bad.append((path, image))
                    continue
                example, encoded = example_of(image, path, label), image.encoded
                offset = size_bytes + HEAD_BYTES + example.index(encoded)
                crc32, true_size = zlib.crc32(encoded), (image.height, image.width)
                names.append(path)
                places.append((offset, len(encoded), crc32, *true_size))
                size_bytes += HEAD_BYTES + len(example) + CRC_BYTES
                writer.write(example)
        # TensorFlow's writer may lose the end of a file without an error.
        if (written := aside.stat().st_size) != size_bytes:
            raise OSError(f"{written} of {size_bytes} bytes were written")
        sha256 = checksum(aside)
    columns = np.array(places, np.int64).reshape(-1, len(PLACES))
    shard = PreparedShard(files, size_bytes, sha256, names, columns, bad)
    atomic.write_text(list_path(folder, number), shard.text())
    return shard


def find_shard(folder: Path, number: int, files: str, checksums: bool) -> PreparedShard | None:
    """A finished shard of the given files; None if there is none, or it is damaged.

    Args:
        folder: Folder of the shards.
        number: Number of the shard.
        files: See `PreparedShard`.
        checksums: Whether the TFRecord file is read, not only its size.
    """
    try:
        shard = PreparedShard.from_text(list_path(folder, number).read_text("ascii"))
        if shard.files == files:
            check_shard(folder, number, shard.size_bytes, shard.sha256 if checksums else None)
            return shard
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def check_shard(folder: Path, number: int, size_bytes: int, sha256: str | None) -> None:
    """Checks that a TFRecord file is whole.

    Args:
        folder: Folder of the shards.
        number: Number of the shard.
        size_bytes: What its size must be.
        sha256: What its checksum must be; None does not read the file.

    Raises:
        DamagedError: If it is not.
    """
    path = tfrecord_path(folder, number)
    try:
        found = _size_of(folder, number)
        if found != size_bytes:
            raise DamagedError(f"{path} has {found:,} bytes instead of {size_bytes:,}")
        if sha256 is not None and checksum(path) != sha256:
            raise DamagedError(f"{path} has another checksum than when it was written")
    except FileNotFoundError as error:
        raise DamagedError(f"{path} is missing") from error


def checksum(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size_of(folder: Path, number: int) -> int:
    """Size of the TFRecord file of a shard, in bytes."""
    return tfrecord_path(folder, number).stat().st_size
