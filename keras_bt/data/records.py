"""Reads images inside files that hold many, in any order."""

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from keras_bt.data.files import check_decodes, read_bytes
from keras_bt.data.images import Images
from keras_bt.data.reader import Reader
from keras_bt.data.shards import Shard


class Records:
    """The images of examined files of this machine, which are not compressed.

    A number counts the images of all files. Each read opens its file, so that any number of files
    needs few open ones, and a file that is replaced meanwhile is noticed.

    Args:
        files: Paths of the files.
        shards: One shard per file.
        labels: Class number of each image, int64 [images], or None.
        remember: Called with the checksums of all images when all of a set have been read.
    """

    def __init__(
        self,
        files: Sequence[str],
        shards: Sequence[Shard],
        labels: np.ndarray | None,
        remember: Callable[[np.ndarray], None],
    ) -> None:
        self._files, self._labels, self._remember = files, labels, remember
        contents = [shard.contents for shard in shards]
        self._ends = np.cumsum([len(each.offsets) for each in contents])
        self._offsets, self._lengths, self._checksums = (
            np.concatenate([np.array(getattr(each, name), np.int64) for each in contents])
            for name in ("offsets", "lengths", "checksums")
        )

    def images(self, name: str, numbers: np.ndarray) -> Images:
        """Some of the images.

        Args:
            name: See `Images`.
            numbers: int64 [images], at least one.

        Raises:
            OSError: If none of the first images can be read.
        """
        reader = Reader(
            len(numbers),
            lambda index: self.read(int(numbers[index])),
            lambda index: self.name(int(numbers[index])),
            float(self._lengths[numbers].mean()),
            lambda: self._remember(self._checksums),
        )
        return reader.images(name, None if self._labels is None else self._labels[numbers])

    def read(self, number: int) -> bytes:
        """An encoded image, decoded before.

        Raises:
            UnreadableError: If the file is missing, or the image damaged.
        """
        file, offset = self._files[self._file_of(number)], int(self._offsets[number])
        encoded = read_bytes(file, int(self._lengths[number]), offset)
        checksum = zlib.crc32(encoded)
        if checksum != self._checksums[number]:
            check_decodes(encoded)
            self._checksums[number] = checksum
        return encoded

    def name(self, number: int) -> str:
        """The file of an image, and its record, counted from 1."""
        file = self._file_of(number)
        before = self._ends[file - 1] if file else 0
        return f"{self._files[file]}, record {number - before + 1}"

    def _file_of(self, number: int) -> int:
        return int(np.searchsorted(self._ends, number, side="right"))
