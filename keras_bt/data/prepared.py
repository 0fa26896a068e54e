"""Images that `prepare` has reduced and written into shards."""

import dataclasses
import os
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_bt.data.arrangement import arrange, source_of
from keras_bt.data.files import UnreadableError
from keras_bt.data.images import Images, Source
from keras_bt.data.layout import Sets
from keras_bt.data.manifest import read_manifest, read_shards
from keras_bt.data.reader import Reader
from keras_bt.data.scan import check_name
from keras_bt.data.shards import tfrecord_path


def from_prepared(path: str | os.PathLike[str], check: str = "header") -> Source:
    """Images that `prepare` has written: the sets, classes and held-out images of their source.

    An image that has been damaged since is replaced by the next one of its set, with its label;
    see `Images.replaced`.

    Args:
        path: The folder of the manifest.
        check: "header" compares the sizes of all files with those in the manifest, "decode" also
            reads all files and compares their checksums.

    Raises:
        ValueError: If the preparation is not finished, is of another version, or has files that
            are missing or damaged. The message names the first ten.
        OSError: If a file cannot be read.
    """
    check_name(check)
    root = Path(path).expanduser().absolute()
    manifest = read_manifest(root)
    if not manifest.finished:
        raise ValueError(
            f"{root} is not prepared completely; run the same `keras-bt prepare` again."
        )
    shards = read_shards(root, manifest, checksums=check == "decode")
    rows = [(number, *row) for number, shard in enumerate(shards) for row in shard.images]
    names = [name for _, name, *_ in rows]
    columns = np.array([(number, *row) for number, _, *row in rows], np.int64).reshape(-1, 6)
    paths = [os.path.join(root, name) for name in names]
    places = {path: place for place, path in enumerate(paths)}
    folder, count = manifest.train
    test = root / manifest.test[0] if manifest.test else None
    sets = Sets(root / folder, paths[:count], test, paths[count:], Counter(), Counter())
    arrangement = arrange(sets)
    arrangement.log(root)

    def images(name: str, paths: list[str], labels: Sequence[int] | None) -> Images:
        chosen = columns[[places[path] for path in paths]]
        reader = Reader(len(paths), _reading(root, chosen), paths.__getitem__, chosen[:, 2].mean())
        images = reader.images(name, labels, paths)
        decode = _with_true_size(images.decode, chosen[:, 4:])
        return dataclasses.replace(images, decode=decode, largest_size=manifest.load_size)

    return source_of(manifest.name, root, arrangement, images, manifest.skipped, manifest.digest)


def _reading(root: Path, places: np.ndarray) -> Callable[[int], bytes]:
    """A function that reads an image by its index."""

    def read(index: int) -> bytes:
        shard, offset, size_bytes, crc32 = (int(value) for value in places[index, :4])
        try:
            descriptor = os.open(tfrecord_path(root, shard), os.O_RDONLY)
            try:
                encoded = os.pread(descriptor, size_bytes, offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise UnreadableError(error.strerror.lower()) from error
        if zlib.crc32(encoded) != crc32:
            raise UnreadableError(f"{tfrecord_path(root, shard).name} is damaged there")
        return encoded

    return read


def _with_true_size(
    decode: Callable[[Any], dict[str, tf.Tensor]], sizes: np.ndarray
) -> Callable[[Any], dict[str, tf.Tensor]]:
    """A function that decodes an image, and adds the true height and width as "size"."""
    true_sizes = tf.constant(sizes, tf.int32)

    def decode_with_size(read: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {**decode(read), "size": tf.gather(true_sizes, read["index"])}

    return decode_with_size
