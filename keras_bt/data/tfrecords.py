"""Images in TFRecord files."""

import dataclasses
import logging
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_bt.data.decode import decode_image, image_and_label
from keras_bt.data.files import printable
from keras_bt.data.images import HOLD_OUT_EVERY, Images, Source, digest_of, shuffle_buffer
from keras_bt.data.labels import class_numbers, why_unusable
from keras_bt.data.patterns import is_local, matching_files
from keras_bt.data.record_index import Keys, Shard, find_keys, index_records
from keras_bt.data.records import Records
from keras_bt.data.scan import check_name

INTERLEAVED_FILES = 16

# Opens the images with some numbers, under a name, with these labels.
OpenPart = Callable[[str, np.ndarray], Images]


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
    shards = index_records(files, keys, index, check)
    labels = [label for shard in shards for label in shard.labels]
    sizes = [shard.size_bytes for shard in shards]
    digest = digest_of(zip(map(os.path.basename, files), sizes, strict=True))
    numbers: np.ndarray | None = None
    names: tuple[bytes, ...] = ()
    if not (reason := why_unusable(labels)):
        numbers, names = class_numbers(labels)
    elif keys.label:
        message = "%s: labels are ignored, because %s."
        logging.getLogger(__name__).warning(message, printable(pattern), reason)
    at_random = all(is_local(file) for file in files) and not any(s.compression for s in shards)
    open_part = (
        _at_random(Records(files, shards), numbers)
        if at_random
        else _in_sequence(files, shards, keys, numbers, names)
    )
    every = np.arange(len(labels))
    if numbers is None:
        return Source(pattern, open_part(pattern, every), digest=digest)
    is_held_out = every % HOLD_OUT_EVERY == 0
    return Source(
        pattern,
        open_part(f"{pattern} (train)", every[~is_held_out]),
        open_part(f"{pattern} (held out)", every[is_held_out]),
        len(names) if names else int(numbers.max()) + 1,
        class_names=tuple(name.decode("utf-8", "replace") for name in names),
        digest=digest,
    )


def _at_random(records: Records, numbers: np.ndarray | None) -> OpenPart:
    """Opens images that are read in any order."""

    def part(name: str, chosen: np.ndarray) -> Images:
        return records.reader(chosen).images(name, None if numbers is None else numbers[chosen])

    return part


def _in_sequence(
    files: Sequence[str],
    shards: Sequence[Shard],
    keys: Keys,
    numbers: np.ndarray | None,
    names: Sequence[bytes],
) -> OpenPart:
    """Opens images that are read one after the other, from several files in turn."""
    compressions = [shard.compression for shard in shards]
    pairs = tf.data.Dataset.from_tensor_slices((list(files), compressions))
    records = pairs.interleave(tf.data.TFRecordDataset, cycle_length=INTERLEAVED_FILES)
    count = sum(len(shard.labels) for shard in shards)
    buffer = shuffle_buffer(count, sum(shard.size_bytes for shard in shards))
    spec = {keys.image: tf.io.FixedLenFeature([], tf.string)}
    if numbers is not None:
        spec[keys.label] = tf.io.FixedLenFeature([], tf.string if names else tf.int64)

    def decode(record: tf.Tensor) -> dict[str, tf.Tensor]:
        record = tf.io.parse_single_example(record, spec)
        label = None if numbers is None else record[keys.label]
        if names:
            label = tf.argmax(tf.equal(names, label))
        return image_and_label(decode_image(record[keys.image]), label)

    whole = Images("", count, records, decode, numbers is not None, buffer)

    def part(name: str, chosen: np.ndarray) -> Images:
        images = whole if len(chosen) == count else whole.chosen(chosen)
        return dataclasses.replace(images, name=name)

    return part
