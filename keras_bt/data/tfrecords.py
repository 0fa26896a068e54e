"""Images in TFRecord files."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_bt.data.decode import decode_image, image_and_label
from keras_bt.data.images import HOLD_OUT_EVERY, Images, Source, problems_message, shuffle_buffer


def from_tfrecords(pattern: str | os.PathLike[str]) -> Source:
    """TFRecord files of `tf.train.Example`s with encoded images.

    Keys: "image" or "image/encoded" (JPEG, PNG, BMP or GIF bytes), and for labels "label" or
    "image/class/label" (int64, from 0). With labels, every fifth image is held out. Labels are
    ignored if any is negative, if all are equal, or if there are fewer than five images.

    Args:
        pattern: Path or glob of the files.

    Raises:
        ValueError: If no file matches, or records cannot be read. The message lists the first
            ten.
    """
    pattern = str(Path(pattern).expanduser())
    files = sorted(tf.io.gfile.glob(pattern))
    if not files:
        raise ValueError(f"No file matches {pattern}.")
    image_key, label_key = _keys(files)
    spec = {image_key: tf.io.FixedLenFeature([], tf.string)}
    if label_key:
        spec[label_key] = tf.io.FixedLenFeature([], tf.int64)

    def decode(record: tf.Tensor) -> dict[str, tf.Tensor]:
        record = tf.io.parse_single_example(record, spec)
        label = record[label_key] if label_key else None
        return image_and_label(decode_image(record[image_key]), label)

    labels = _check_readable(files, decode)
    records = tf.data.TFRecordDataset(files)
    size_bytes = sum(tf.io.gfile.stat(file).length for file in files)
    buffer = shuffle_buffer(len(labels), size_bytes)
    if label_key is None or min(labels) < 0 or len(set(labels)) < 2 or len(labels) < HOLD_OUT_EVERY:

        def image_only(record: tf.Tensor) -> dict[str, tf.Tensor]:
            return image_and_label(decode(record)["image"], None)

        return Source(pattern, Images(pattern, len(labels), records, image_only, False, buffer))

    def part(name: str, held_out: bool) -> Images:
        chosen = records.enumerate().filter(
            lambda i, _: tf.equal(i % HOLD_OUT_EVERY == 0, held_out)
        )
        count = -(-len(labels) // HOLD_OUT_EVERY)
        count = count if held_out else len(labels) - count
        elements = chosen.map(lambda _, record: record)
        return Images(f"{pattern} ({name})", count, elements, decode, True, buffer)

    return Source(pattern, part("train", False), part("held out", True), max(labels) + 1)


def _keys(files: list[str]) -> tuple[str, str | None]:
    """The keys of image and label in the first record that can be read."""
    first = None
    for file in files:
        with contextlib.suppress(tf.errors.OpError):  # `_check_readable` reports it
            first = next(iter(tf.data.TFRecordDataset(file)), None)
        if first is not None:
            break
    if first is None:
        raise ValueError(f"{', '.join(files[:10])}: no TFRecord can be read.")
    try:
        keys = set(tf.train.Example.FromString(first.numpy()).features.feature)
    except DecodeError as error:
        raise ValueError(f"{file}: its records are not tf.train.Examples.") from error
    image_key = next((key for key in ("image", "image/encoded") if key in keys), None)
    label_key = next((key for key in ("label", "image/class/label") if key in keys), None)
    if image_key is None:
        raise ValueError(
            f"{file} has records with keys {sorted(keys)}; the image key must be 'image' or "
            "'image/encoded'."
        )
    return image_key, label_key


def _check_readable(
    files: list[str], decode: Callable[[tf.Tensor], dict[str, tf.Tensor]]
) -> list[int]:
    """Reads every record once, and returns the labels (0 for records without)."""
    labels, problems = [], []
    for file in files:
        number = 0
        try:
            for number, record in enumerate(tf.data.TFRecordDataset(file), start=1):
                try:
                    labels.append(int(decode(record).get("label", 0)))
                except (tf.errors.OpError, ValueError) as error:
                    problems.append(f"{file}, record {number}: {str(error).splitlines()[0]}")
        except tf.errors.OpError as error:
            problems.append(f"{file}, after record {number}: {str(error).splitlines()[0]}")
    if problems:
        raise ValueError(problems_message("records", len(labels) + len(problems), problems))
    return labels
