"""Images in TFRecord files."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_bt.data.decode import decode_image, image_and_label
from keras_bt.data.images import Images, Source, digest_of, shuffle_buffer
from keras_bt.data.labels import Classes, classes_of, source_of_shards
from keras_bt.data.patterns import is_local, matching_files
from keras_bt.data.record_index import Keys, examine_records, find_keys
from keras_bt.data.records import Records
from keras_bt.data.scan import check_name
from keras_bt.data.shards import Shard, index_shards, remember

INTERLEAVED_FILES = 16


def from_tfrecords(
    pattern: str | os.PathLike[str],
    index: str | os.PathLike[str] | None = None,
    check: str = "header",
) -> Source:
    """TFRecord files of `tf.train.Example`s with encoded images, also compressed ones.

    Keys: "image" or "image/encoded" (the bytes of a JPEG, PNG, WebP, BMP or GIF; the orientation
    in EXIF is ignored), and for labels "label" or "image/class/label" (a number from 0, or a text).
    With labels, every fifth image is held out. Labels are ignored, with a warning, if a record has
    none or several, if any is negative, if all are equal, or if there are fewer than five images.

    Images of this machine's files are read in any order: an epoch is shuffled as a whole, a worker
    reads its own images, and one that cannot be decoded is replaced by the next, see
    `Images.replaced`. Compressed files and those of other machines are read one after the other
    and shuffled by parts of 1 GiB; each of their images is decoded now.

    Args:
        pattern: Path or glob of the files, also with the scheme of a file system of TensorFlow,
            such as gs://.
        index: File that stores where the images are, to make the next start faster. None stores
            nothing.
        check: "header" finds each image now, without reading it. "decode" decodes each image now.

    Raises:
        ValueError: If no file matches, files are cut off, or records have no image. The message
            names the first ten.
        OSError: If a file cannot be read, or none of the first images can be decoded.
    """
    check_name(check)
    pattern = os.path.expanduser(os.fspath(pattern))
    files = matching_files(pattern)
    keys = find_keys(files)
    header = {"index": "keras_bt records 1", "keys": list(keys)}
    shards = index_shards(
        files, functools.partial(examine_records, keys=keys), header, index, check
    )
    labels = [label for shard in shards for label in shard.contents.labels]
    classes = classes_of(labels, pattern, expected=keys.label is not None)
    compressed = any(shard.contents.compression for shard in shards)
    at_random = all(map(is_local, files)) and not compressed
    found = functools.partial(remember, files=files, header=header, index=index)
    images = (
        Records(files, shards, classes.numbers, found).images
        if at_random
        else _in_sequence(files, shards, keys, classes)
    )
    sizes = [shard.size_bytes for shard in shards]
    digest = digest_of(zip(map(os.path.basename, files), sizes, strict=True))
    return source_of_shards(pattern, shards, classes, images, digest)


def _in_sequence(
    files: Sequence[str], shards: Sequence[Shard], keys: Keys, classes: Classes
) -> Callable[[str, np.ndarray], Images]:
    """Opens images that are read one after the other, from several files in turn."""
    compressions = [shard.contents.compression for shard in shards]
    pairs = tf.data.Dataset.from_tensor_slices((list(files), compressions))
    records = pairs.interleave(tf.data.TFRecordDataset, cycle_length=INTERLEAVED_FILES)
    count = sum(len(shard.contents.labels) for shard in shards)
    buffer = shuffle_buffer(count, sum(shard.size_bytes for shard in shards))
    names, label_key = list(classes.names), None if classes.numbers is None else keys.label
    spec = {keys.image: tf.io.FixedLenFeature([], tf.string)}
    if label_key:
        spec[label_key] = tf.io.FixedLenFeature([], tf.string if names else tf.int64)

    def decode(record: tf.Tensor) -> dict[str, tf.Tensor]:
        record = tf.io.parse_single_example(record, spec)
        label = record[label_key] if label_key else None
        if names:
            label = tf.argmax(tf.equal(names, label))
        return image_and_label(decode_image(record[keys.image]), label)

    whole = Images("", count, records, decode, bool(label_key), buffer)

    def images(name: str, numbers: np.ndarray) -> Images:
        chosen = whole if len(numbers) == count else whole.chosen(numbers)
        return dataclasses.replace(chosen, name=name)

    return images
