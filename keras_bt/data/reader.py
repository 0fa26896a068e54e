"""Reads examined files for `tf.data`, and replaces files that have vanished."""

import atexit
import contextlib
import io
import logging
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_bt.data.files import FileRecord, UnreadableError, encoded_image, printable

MAX_REPLACED = 100
# Eight small files per call of Python: single calls take four times as long as the decoding.
SMALL_BYTES, SMALL_AT_ONCE = 2**16, 8
QUIET_SECONDS = 0.2


class Reader:
    """Reads image files by index.

    Args:
        paths: Paths of the files.
        records: One record per file, none of them bad.
        max_pixels: See `files.examine`.

    Attributes:
        count: Number of files.
        replaced: Paths of files that could not be read and were replaced by others.
    """

    def __init__(self, paths: list[str], records: Sequence[FileRecord], max_pixels: int) -> None:
        self.paths, self.count = paths, len(paths)
        self.replaced: set[str] = set()
        self._records, self._max_pixels = records, max_pixels
        self._lock = threading.Lock()
        small = np.mean([record.size_bytes for record in records]) < SMALL_BYTES
        self._at_once = SMALL_AT_ONCE if small else 1

    def fetch(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """Reads files in the order of their indices.

        Args:
            indices: Dataset of int64 in 0...count - 1.

        Returns:
            Dataset of dicts {"encoded", "index"}: an image for `decode_image`, and its index.
            The index differs from the requested one if that file could not be read.
        """

        def read(indices: tf.Tensor) -> dict[str, tf.Tensor]:
            encoded, found = tf.numpy_function(
                self._read_all, [indices], (tf.string, tf.int64), stateful=False
            )
            return {
                "encoded": tf.ensure_shape(encoded, [None]),
                "index": tf.ensure_shape(found, [None]),
            }

        batches = indices.batch(self._at_once)
        return batches.map(read, tf.data.AUTOTUNE, deterministic=True).unbatch()

    def _read_all(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encoded images and their indices; placeholders while Python exits."""
        with _python_in_use() as exiting:
            if exiting:
                return np.array([_placeholder.getvalue()] * len(indices), object), indices
            encoded, found = zip(*map(self._read, indices), strict=True)
            return np.array(encoded, object), np.array(found, np.int64)

    def _read(self, index: int) -> tuple[bytes, int]:
        """An encoded image and its index: the requested one, or the next readable one."""
        for offset in range(min(MAX_REPLACED, self.count)):
            found = (index + offset) % self.count
            path, record = self.paths[found], self._records[found]
            try:
                return encoded_image(path, record, self._max_pixels), found
            except UnreadableError as error:
                self._report(path, error)
        raise OSError(f"{printable(path)} and the {offset} images before it can no longer be read.")

    def _report(self, path: str, error: UnreadableError) -> None:
        """Logs a replaced file, once."""
        with self._lock:
            if path in self.replaced:
                return
            self.replaced.add(path)
        log = logging.getLogger(__name__)
        log.warning("Another image replaces %s: %s.", printable(path), error)


# A tf.data thread that calls Python during Python's exit never returns, and TensorFlow waits
# for it forever. During exit, calls therefore return placeholders, which soon fill the
# pipelines, and Python waits until no thread calls it.
_placeholder = io.BytesIO()
Image.new("RGB", (1, 1)).save(_placeholder, "PNG")
_exiting = threading.Event()
_busy: set[int] = set()
_last_call = 0.0


@contextlib.contextmanager
def _python_in_use() -> Iterator[bool]:
    """Registers the call of a tf.data thread; yields whether Python is exiting."""
    global _last_call
    _busy.add(threading.get_ident())
    try:
        yield _exiting.is_set()
    finally:
        _last_call = time.monotonic()
        _busy.discard(threading.get_ident())


@atexit.register
def _wait_for_calls() -> None:
    """Waits until no tf.data thread calls Python."""
    _exiting.set()
    while _busy or time.monotonic() - _last_call < QUIET_SECONDS:
        time.sleep(QUIET_SECONDS / 10)
