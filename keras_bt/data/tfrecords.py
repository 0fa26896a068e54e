"""Images in TFRecord files."""

import contextlib
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_bt.data.images import (
    HOLD_OUT_EVERY,
    Images,
    Source,
    decode_image,
    image_and_label,
    problems_message,
    shuffle_buffer,
)


def from_tfrecords(pattern):
    """TFRecord files of `tf.train.Example`s with encoded images.

    Keys: "image" or "image/encoded" (JPEG, PNG, BMP or GIF bytes) and, if there are
    labels, "label" or "image/class/label" (int64, counted from 0). With labels every
    fifth image is held out. Labels of a single class, or negative ones, are left out.

    Args:
        pattern: Path or glob of the files.

    Returns:
        `Source`.

    Raises:
        ValueError: If no file matches, or records cannot be read; the first ten are named.
    """
    pattern = str(Path(pattern).expanduser())
    files = sorted(tf.io.gfile.glob(pattern))
    if not files:
        raise ValueError(f"No file matches {pattern}.")
    image_key, label_key = _keys(files)
    spec = {image_key: tf.io.FixedLenFeature([], tf.string)}
    if label_key:
        spec[label_key] = tf.io.FixedLenFeature([], tf.int64)

    def decode(record):
        record = tf.io.parse_single_example(record, spec)
        label = record[label_key] if label_key else None
        return image_and_label(decode_image(record[image_key]), label)

    labels = _check_readable(files, decode)
    records = tf.data.TFRecordDataset(files)
    size_bytes = sum(tf.io.gfile.stat(file).length for file in files)
    buffer = shuffle_buffer(len(labels), size_bytes)
    if label_key is None or min(labels) < 0 or len(set(labels)) < 2 or len(labels) < HOLD_OUT_EVERY:

        def image_only(record):
            return image_and_label(decode(record)["image"], None)

        return Source(pattern, Images(pattern, len(labels), records, image_only, False, buffer))

    def part(name, held_out):
        chosen = records.enumerate().filter(
            lambda i, _: tf.equal(i % HOLD_OUT_EVERY == 0, held_out)
        )
        count = -(-len(labels) // HOLD_OUT_EVERY)
        count = count if held_out else len(labels) - count
        elements = chosen.map(lambda _, record: record)
        return Images(f"{pattern} ({name})", count, elements, decode, True, buffer)

    return Source(pattern, part("train", False), part("held out", True), max(labels) + 1)


def _keys(files):
    first = None
    for file in files:
        with contextlib.suppress(tf.errors.OpError):  # named by the check of every record
            first = next(iter(tf.data.TFRecordDataset(file)), None)
        if first is not None:
            break
    if first is None:
        raise ValueError(f"{', '.join(files[:10])}: no TFRecord can be read.")
    try:
        keys = set(tf.train.Example.FromString(first.numpy()).features.feature)
    except DecodeError as error:
        raise ValueError(f"{file}: its records are no tf.train.Examples.") from error
    image_key = next((key for key in ("image", "image/encoded") if key in keys), None)
    label_key = next((key for key in ("label", "image/class/label") if key in keys), None)
    if image_key is None:
        raise ValueError(
            f"{file} has records with keys {sorted(keys)}; keras_bt needs 'image' or "
            "'image/encoded'."
        )
    return image_key, label_key


def _check_readable(files, decode):
    """Reads every record once, and returns their labels (0 without)."""
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
