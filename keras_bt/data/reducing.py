"""Lists the files of a folder, reduces them in parallel, and estimates how long that takes."""

import collections
import concurrent.futures
import contextlib
import io
import os
import random
import statistics
import time
import warnings
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from keras_bt._support import atomic
from keras_bt.data.arrangement import arrange
from keras_bt.data.files import UnreadableError
from keras_bt.data.layout import Sets
from keras_bt.data.reduced import ReducedImage, reduce_file, reduce_image

SAMPLED_FILES = 16
ROOM = 1.2  # of the estimated bytes, because a sample is not all images
RECORD_BYTES = 300  # of a record and its entry in the list, besides the image
AHEAD = 4  # images per thread that wait for the consumer


class FileToRead(NamedTuple):
    """A file: its path, its path below the folder, its size and time, and its class or None."""

    path: str
    name: str
    size_and_time: tuple[int, int]
    label: str | None


class Estimate(NamedTuple):
    """What the reduction of some files takes: time on all cores, and room.

    `pixels` is the median number of pixels of an image before.
    """

    files: int
    seconds: float
    size_bytes: int
    pixels: float

    @property
    def room(self) -> str:
        """The room in words."""
        return f"about {atomic.megabytes(self.size_bytes)} for {self.files:,} images"


def list_files(root: Path, sets: Sets) -> list[FileToRead]:
    """All files of a folder, those of the training set first.

    Args:
        root: The folder.
        sets: From `find_sets`.

    Raises:
        ValueError: If the folders of classes do not fit; see `arrange`.
    """
    arrangement = arrange(sets)
    labels: dict[str, str] = {}
    if arrangement.classes:
        for paths, numbers in (arrangement[:2], arrangement[2:4]):
            names = [arrangement.classes[number] for number in numbers or ()]
            labels |= dict(zip(paths, names, strict=True))
    start = len(os.path.join(root, ""))
    return [
        FileToRead(path, path[start:], _size_and_time(path), labels.get(path))
        for path in sets.train_paths + sets.test_paths
    ]


class Reducer:
    """Reduces image files on all cores.

    Args:
        load_size: See `reduce_file`.
        max_pixels: See `reduce_file`.
    """

    def __init__(self, load_size: int, max_pixels: int) -> None:
        self._load_size, self._max_pixels = load_size, max_pixels
        self._sampled: dict[FileToRead, ReducedImage | str] = {}

    def estimate(self, files: Sequence[FileToRead]) -> Estimate:
        """Estimates time and room by a sample of the files.

        The sample is read now, and kept until `in_order` yields it.

        Args:
            files: The files.

        Example:
            >>> Reducer(load_size=64, max_pixels=1000).estimate([])
            Estimate(files=0, seconds=0.0, size_bytes=0, pixels=0)
        """
        # At random, because files may alternate between cameras, for example.
        sample = random.Random(0).sample(files, min(len(files), SAMPLED_FILES))
        reduce_image(_tiny_jpeg(), load_size=8)  # TensorFlow loads its decoders
        started = time.monotonic()
        found = list(self.in_order(sample))
        seconds = (time.monotonic() - started) / max(1, len(sample))
        self._sampled = dict(zip(sample, found, strict=True))
        images = [image for image in found if isinstance(image, ReducedImage)]
        size_bytes = statistics.mean([len(image.encoded) + RECORD_BYTES for image in images] or [0])
        pixels = statistics.median([image.height * image.width for image in images] or [0])
        return Estimate(
            len(files), seconds * len(files), int(ROOM * size_bytes * len(files)), pixels
        )

    def in_order(self, files: Sequence[FileToRead]) -> Generator[ReducedImage | str, None, None]:
        """Reduces files. A few images are computed ahead of the consumer.

        Args:
            files: The files.

        Yields:
            The image of each file in order, or the reason why it cannot be read.
        """
        waiting: collections.deque[concurrent.futures.Future] = collections.deque()
        with _threads() as pool:
            for file in files:
                waiting.append(pool.submit(self._reduce, file))
                if len(waiting) > AHEAD * (os.cpu_count() or 1):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _reduce(self, file: FileToRead) -> ReducedImage | str:
        """A reduced image, or why the file cannot be read."""
        if sampled := self._sampled.pop(file, None):
            return sampled
        try:
            return reduce_file(file.path, self._load_size, self._max_pixels, file.size_and_time)
        except UnreadableError as error:
            return str(error)


def _size_and_time(path: str) -> tuple[int, int]:
    """Size in bytes and time of change of a file; -1 if it has vanished."""
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _tiny_jpeg() -> bytes:
    """An image of 16 x 16 pixels."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG")
    return file.getvalue()


@contextlib.contextmanager
def _threads() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    """A thread for each core: TensorFlow and Pillow decode outside Python's lock."""
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about files that it can read
            yield pool
    finally:
        pool.shutdown(cancel_futures=True)
