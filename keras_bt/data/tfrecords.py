"""Images in TFRecord files."""

import contextlib
import glob
import logging
import os
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_bt._support.errors import first_line
from keras_bt.data.decode import decode_image, image_and_label
from keras_bt.data.files import printable
from keras_bt.data.images import (
    HOLD_OUT_EVERY,
    Images,
    Source,
    digest_of,
    problems_message,
    shuffle_buffer,
)

IMAGE_KEYS, LABEL_KEYS = ("image", "image/encoded"), ("label", "image/class/label")
GZIP_START, ZLIB_STARTS = b"\x1f\x8b", (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")

Label = Any  # int, bytes or None

# Calls of a graph take a fifth of the time of its operations one by one.
_decode_in_graph = tf.function(
    decode_image, input_signature=[tf.TensorSpec([], tf.string)], autograph=False
)


def from_tfrecords(pattern: str | os.PathLike[str]) -> Source:
    """TFRecord files of `tf.train.Example`s with encoded images, also compressed ones.

    Keys: "image" or "image/encoded" (the bytes of a JPEG, PNG, WebP, BMP or GIF; the orientation
    in EXIF is ignored), and for labels "label" or "image/class/label" (a number from 0, or a text).
    With labels, every fifth image is held out. Labels are ignored, with a warning, if a record has
    none or several, if any is negative, if all are equal, or if there are fewer than five images.

    Args:
        pattern: Path or glob of the files, also with the scheme of a file system of TensorFlow,
            such as gs://.

    Raises:
        ValueError: If no file matches, or records cannot be read. The message names the first
            ten.
    """
    pattern = os.path.expanduser(os.fspath(pattern))
    files = _matching(pattern)
    compressions = [_compression(file) for file in files]
    image_key, label_key = _keys(files, compressions)
    labels = _read_labels(files, compressions, image_key, label_key)
    sizes = [tf.io.gfile.stat(file).length for file in files]
    buffer = shuffle_buffer(len(labels), sum(sizes))
    digest = digest_of(zip(map(os.path.basename, files), sizes, strict=True))
    pairs = tf.data.Dataset.from_tensor_slices((files, compressions))
    records = pairs.flat_map(tf.data.TFRecordDataset)
    is_text = isinstance(labels[0], bytes)
    names = sorted(set(labels)) if is_text else []
    spec = {image_key: tf.io.FixedLenFeature([], tf.string)}

    if reason := _why_unusable(labels):
        if label_key:
            message = "%s: labels are ignored, because %s."
            logging.getLogger(__name__).warning(message, printable(pattern), reason)
        label_key = None
    if label_key:
        spec[label_key] = tf.io.FixedLenFeature([], tf.string if is_text else tf.int64)

    def decode(record: tf.Tensor) -> dict[str, tf.Tensor]:
        record = tf.io.parse_single_example(record, spec)
        label = record[label_key] if label_key else None
        if is_text and label is not None:
            label = tf.argmax(tf.equal(names, label))
        return image_and_label(decode_image(record[image_key]), label)

    if label_key is None:
        images = Images(pattern, len(labels), records, decode, False, buffer)
        return Source(pattern, images, digest=digest)

    def part(name: str, held_out: bool) -> Images:
        chosen = records.enumerate().filter(
            lambda i, _: tf.equal(i % HOLD_OUT_EVERY == 0, held_out)
        )
        count = -(-len(labels) // HOLD_OUT_EVERY)
        count = count if held_out else len(labels) - count
        elements = chosen.map(lambda _, record: record)
        return Images(f"{pattern} ({name})", count, elements, decode, True, buffer)

    return Source(
        pattern,
        part("train", False),
        part("held out", True),
        len(names) if is_text else max(labels) + 1,
        class_names=tuple(name.decode("utf-8", "replace") for name in names),
        digest=digest,
    )


def _matching(pattern: str) -> list[str]:
    """The files that a pattern matches; a file or folder with the name of a pattern is itself."""
    try:
        if tf.io.gfile.isdir(pattern):
            raise ValueError(f"{pattern} is a folder; name its files, as {pattern}/*.tfrecord.")
        if tf.io.gfile.exists(pattern):
            return [pattern]
        folder, name = os.path.split(pattern)
        literal = folder and tf.io.gfile.isdir(folder)
        escaped = os.path.join(glob.escape(folder), name) if literal else pattern
        files = sorted(tf.io.gfile.glob(escaped))
    except tf.errors.OpError as error:
        raise ValueError(f"{pattern} cannot be read: {first_line(error)}.") from error
    if not files:
        raise ValueError(f"No file matches {pattern}.")
    return files


def _compression(file: str) -> str:
    """The compression of a file, as `tf.data.TFRecordDataset` names it."""
    # First without: the length of its first record may begin like a compressed file.
    if _first_record(file, "") is None:
        with contextlib.suppress(tf.errors.OpError), tf.io.gfile.GFile(file, "rb") as content:
            start = content.read(2)
            return "GZIP" if start == GZIP_START else "ZLIB" if start in ZLIB_STARTS else ""
    return ""


def _first_record(file: str, compression: str) -> bytes | None:
    """The first record of a file; None if it cannot be read."""
    with contextlib.suppress(tf.errors.OpError):
        return next(tf.data.TFRecordDataset(file, compression).as_numpy_iterator(), None)
    return None


def _keys(files: list[str], compressions: list[str]) -> tuple[str, str | None]:
    """The keys of image and label in the first record that can be read."""
    for file, compression in zip(files, compressions, strict=True):
        if (first := _first_record(file, compression)) is not None:
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
    return image_key, next((key for key in LABEL_KEYS if key in keys), None)


def _read_labels(
    files: list[str], compressions: list[str], image_key: str, label_key: str | None
) -> list[Label]:
    """Reads every record once, and returns the labels (None for records without)."""
    labels: list[Label] = []
    problems = []
    for file, compression in zip(files, compressions, strict=True):
        number = 0
        try:
            records = tf.data.TFRecordDataset(file, compression).as_numpy_iterator()
            for number, record in enumerate(records, start=1):
                try:
                    features = tf.train.Example.FromString(record).features.feature
                    (image,) = features[image_key].bytes_list.value
                    _decode_in_graph(image)
                except DecodeError:
                    problems.append(f"{file}, record {number}: no tf.train.Example")
                except (tf.errors.OpError, ValueError):
                    readable = f"no readable image at the key {image_key!r}"
                    problems.append(f"{file}, record {number}: {readable}")
                else:
                    labels.append(_only(features[label_key]) if label_key else None)
        except tf.errors.OpError:
            problems.append(f"{file}, after record {number}: damaged or cut off")
    if problems:
        raise ValueError(problems_message("records", len(labels) + len(problems), problems))
    return labels


def _only(feature: tf.train.Feature) -> Label:
    """The only integer or text of a feature; None if there is none, or several."""
    values = feature.int64_list.value or feature.bytes_list.value
    return values[0] if len(values) == 1 else None


def _why_unusable(labels: Sequence[Label]) -> str:
    """Why labels cannot be used; empty if they can."""
    if len({type(label) for label in labels}) > 1 or labels[0] is None:
        return "not every record has one integer, or one text"
    if len(labels) < HOLD_OUT_EVERY:
        return f"there are fewer than {HOLD_OUT_EVERY} images"
    if len(set(labels)) < 2:
        return "all are equal"
    if isinstance(labels[0], int) and min(labels) < 0:
        return "some are negative"
    return ""
