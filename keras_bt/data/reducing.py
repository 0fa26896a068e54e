"""Reduces many image files in parallel, and estimates how long that takes."""

import collections
import concurrent.futures
import contextlib
import os
import random
import statistics
import time
import warnings
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

from keras_bt.data.files import UnreadableError
from keras_bt.data.reduced import ReducedImage, reduce_file

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


def estimate(files: Sequence[FileToRead], load_size: int, max_pixels: int) -> Estimate:
    """Estimates time and room by a sample of the files, which is read.

    Args:
        files: The files.
        load_size: See `reduce_file`.
        max_pixels: See `reduce_file`.

    Example:
        >>> estimate([], load_size=64, max_pixels=1000)
        Estimate(files=0, seconds=0.0, size_bytes=0, pixels=0)
    """
    # At random, because files may alternate between cameras, for example.
    sample = random.Random(0).sample(files, min(len(files), SAMPLED_FILES))
    list(reduced_in_order(sample[:1], load_size, max_pixels))  # loads the decoders
    started = time.monotonic()
    found = list(reduced_in_order(sample, load_size, max_pixels))
    seconds = (time.monotonic() - started) / max(1, len(sample))
    images = [image for image in found if isinstance(image, ReducedImage)]
    size_bytes = statistics.mean([len(image.encoded) + RECORD_BYTES for image in images] or [0])
    pixels = statistics.median([image.height * image.width for image in images] or [0])
    return Estimate(len(files), seconds * len(files), int(ROOM * size_bytes * len(files)), pixels)


def reduced_in_order(
    files: Sequence[FileToRead], load_size: int, max_pixels: int
) -> Generator[ReducedImage | str, None, None]:
    """Reduces files on all cores. A few images are computed ahead of the consumer.

    Args:
        files: The files.
        load_size: See `reduce_file`.
        max_pixels: See `reduce_file`.

    Yields:
        The image of each file in order, or the reason why it cannot be read.
    """

    def reduce(file: FileToRead) -> ReducedImage | str:
        try:
            return reduce_file(file.path, load_size, max_pixels, file.size_and_time)
        except UnreadableError as error:
            return str(error)

    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    with _threads() as pool:
        for file in files:
            waiting.append(pool.submit(reduce, file))
            if len(waiting) > AHEAD * (os.cpu_count() or 1):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


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
