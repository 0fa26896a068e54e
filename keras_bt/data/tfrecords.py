"""Images in TFRecord files."""

import numpy as np
import tensorflow as tf

from keras_bt.data.images import (
    HOLD_OUT_EVERY,
    Images,
    Source,
    decode_image,
    image_and_label,
    shuffle_buffer,
)


def from_tfrecords(pattern):
    """TFRecord files of `tf.train.Example`s with encoded images.

    Keys: "image" or "image/encoded" (JPEG, PNG, BMP or GIF bytes) and, if there are
    labels, "label" or "image/class/label" (int64, counted from 0). With labels every
    fifth image is held out.

    Args:
        pattern: Path or glob of the files.

    Returns:
        `Source`.

    Raises:
        ValueError: If no file matches or the records have other keys.
    """
    files = sorted(tf.io.gfile.glob(str(pattern)))
    if not files:
        raise ValueError(f"No file matches {pattern}.")
    records = tf.data.TFRecordDataset(files)
    first = next(iter(records), None)
    if first is None:
        raise ValueError(f"{files[0]} holds no records.")
    keys = set(tf.train.Example.FromString(first.numpy()).features.feature)
    image_key = next((key for key in ("image", "image/encoded") if key in keys), None)
    label_key = next((key for key in ("label", "image/class/label") if key in keys), None)
    if image_key is None:
        raise ValueError(
            f"{files[0]} has records with keys {sorted(keys)}; keras_bt needs 'image' or "
            "'image/encoded'."
        )
    spec = {image_key: tf.io.FixedLenFeature([], tf.string)}
    if label_key:
        spec[label_key] = tf.io.FixedLenFeature([], tf.int64)

    def decode(record):
        example = tf.io.parse_single_example(record, spec)
        return image_and_label(
            decode_image(example[image_key]), example[label_key] if label_key else None
        )

    size_bytes = sum(tf.io.gfile.stat(file).length for file in files)

    def images(name, elements):
        count = int(elements.reduce(np.int64(0), lambda n, _: n + 1))
        labelled = label_key is not None
        buffer = shuffle_buffer(count, size_bytes)
        return Images(f"{pattern} ({name})", count, elements, decode, labelled, buffer)

    if label_key is None:
        return Source(str(pattern), images("train", records))
    labels = records.map(lambda record: tf.io.parse_single_example(record, spec)[label_key])
    classes = 1 + int(labels.reduce(np.int64(-1), tf.maximum))
    numbered = records.enumerate()

    def part(held_out):
        chosen = numbered.filter(lambda i, _: tf.equal(i % HOLD_OUT_EVERY == 0, held_out))
        return chosen.map(lambda _, record: record)

    return Source(
        str(pattern), images("train", part(False)), images("held out", part(True)), classes
    )
