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

from keras_bt.data.arrangement import Arrangement, arrange, source_of
from keras_bt.data.files import UnreadableError, read_bytes
from keras_bt.data.images import Images, Source
from keras_bt.data.layout import Sets
from keras_bt.data.manifest import read_manifest, read_shards
from keras_bt.data.prepared_shards import tfrecord_path
from keras_bt.data.reader import Reader
from keras_bt.data.scan import check_name


class Prepared:
    """A folder that `prepare` has written.

    Args:
        path: The folder.
        check: See `from_prepared`.

    Attributes:
        root: The folder.
        manifest: Its manifest.
        paths: For each image, where it would be if the folder were the source.

    Raises:
        ValueError: See `from_prepared`.
    """

    def __init__(self, path: str | os.PathLike[str], check: str = "header") -> None:
        check_name(check)
        self.root = Path(path).expanduser().absolute()
        self.manifest = read_manifest(self.root)
        if not self.manifest.finished:
            raise ValueError(
                f"{self.root} is not prepared completely; run the same `keras-bt prepare` again."
            )
        shards = read_shards(self.root, self.manifest, checksums=check == "decode")
        self.paths = [os.path.join(self.root, name) for shard in shards for name in shard.names]
        # number of the shard, then the columns of `prepared_shards.PLACES`
        numbers = np.repeat(np.arange(len(shards)), [len(shard.names) for shard in shards])
        places = np.concatenate([shard.places for shard in shards])
        self._places = np.column_stack([numbers, places])

    def source(self) -> Source:
        """All images, arranged like those of the folder they were made of."""
        arrangement, manifest = self.arrangement(), self.manifest
        numbers = {path: number for number, path in enumerate(self.paths)}

        def images(name: str, paths: list[str], labels: Sequence[int] | None) -> Images:
            return self.images(name, [numbers[path] for path in paths], labels)

        return source_of(
            manifest.name, self.root, arrangement, images, manifest.skipped, manifest.digest
        )

    def arrangement(self) -> Arrangement:
        """The sets and classes."""
        train, count = self.manifest.train
        test = self.root / self.manifest.test[0] if self.manifest.test else None
        parts = self.root / train, self.paths[:count], test, self.paths[count:]
        return arrange(Sets(*parts, left_out=Counter(), others=Counter()))

    def images(
        self, name: str, numbers: Sequence[int], labels: Sequence[int] | None = None
    ) -> Images:
        """Some of the images.

        Args:
            name: See `Images`.
            numbers: Their indices in `paths`.
            labels: One class number per image, or None.
        """
        places, paths = self._places[list(numbers)], [self.paths[number] for number in numbers]
        mean_bytes = float(places[:, 2].mean())
        reader = Reader(len(paths), _reading(self.root, places), paths.__getitem__, mean_bytes)
        images = reader.images(name, labels, paths)
        decode = _with_true_size(images.decode, places[:, 4:])
        return dataclasses.replace(images, decode=decode, largest_size=self.manifest.load_size)


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
    prepared = Prepared(path, check)
    prepared.arrangement().log(prepared.root)
    return prepared.source()


def _reading(root: Path, places: np.ndarray) -> Callable[[int], bytes]:
    """A function that reads an image by its index."""

    def read(index: int) -> bytes:
        shard, offset, size_bytes, crc32 = (int(value) for value in places[index, :4])
        encoded = read_bytes(str(tfrecord_path(root, shard)), size_bytes, offset)
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
