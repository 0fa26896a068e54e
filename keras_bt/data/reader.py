"""How `tf.data` gets files that were examined: those that are gone by then are replaced."""

import atexit
import contextlib
import io
import logging
import threading
import time

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_bt.data.files import UnreadableError, encoded_image, shown

MOST_REPLACED = 100
# Eight small files a call of Python: one by one calls would cost four times the decoding.
SMALL_BYTES, SMALL_AT_ONCE = 2**16, 8
QUIET_SECONDS = 0.2


class Reader:
    """Reads files of images by their number.

    Args:
        paths: Strings.
        records: `FileRecord` of each, none of them bad.
        max_pixels: Int. See `files.examine`.

    Attributes:
        count: How many there are.
        replaced: Set of the paths that could not be read and whose place others took.
    """

    def __init__(self, paths, records, max_pixels):
        self.paths, self.count, self.replaced = paths, len(paths), set()
        self._records, self._max_pixels = records, max_pixels
        self._lock = threading.Lock()
        small = np.mean([record.size_bytes for record in records]) < SMALL_BYTES
        self._at_once = SMALL_AT_ONCE if small else 1

    def fetch(self, numbers):
        """Files in the order of their numbers.

        Args:
            numbers: `tf.data.Dataset` of int64 in 0...count - 1.

        Returns:
            `tf.data.Dataset` of dicts {"encoded", "number"}: an image for `decode_image` and
            its number, which is another than that asked for if that could not be read.
        """

        def read(numbers):
            encoded, found = tf.numpy_function(
                self._read_all, [numbers], (tf.string, tf.int64), stateful=False
            )
            return {
                "encoded": tf.ensure_shape(encoded, [None]),
                "number": tf.ensure_shape(found, [None]),
            }

        batches = numbers.batch(self._at_once)
        return batches.map(read, tf.data.AUTOTUNE, deterministic=True).unbatch()

    def _read_all(self, numbers):
        with _python_in_use() as ending:
            if ending:
                return np.array([_placeholder.getvalue()] * len(numbers), object), numbers
            encoded, found = zip(*map(self._read, numbers), strict=True)
            return np.array(encoded, object), np.array(found, np.int64)

    def _read(self, number):
        for offset in range(min(MOST_REPLACED, self.count)):
            found = (number + offset) % self.count
            path, record = self.paths[found], self._records[found]
            try:
                return encoded_image(path, record, self._max_pixels), found
            except UnreadableError as error:
                self._report(path, error)
        raise OSError(f"{shown(path)} and the {offset} images before it can no longer be read.")

    def _report(self, path, error):
        with self._lock:
            if path in self.replaced:
                return
            self.replaced.add(path)
        logging.getLogger(__name__).warning("Another image replaces %s: %s.", shown(path), error)


# A thread of tf.data that calls Python while Python ends never comes back, and TensorFlow
# waits for it for ever. So at the end calls give placeholders, with which the pipelines soon
# are full, and Python waits until they are.
_placeholder = io.BytesIO()
Image.new("RGB", (1, 1)).save(_placeholder, "PNG")
_ending = threading.Event()
_busy: set[int] = set()
_last_call = 0.0


@contextlib.contextmanager
def _python_in_use():
    global _last_call
    _busy.add(threading.get_ident())
    try:
        yield _ending.is_set()
    finally:
        _last_call = time.monotonic()
        _busy.discard(threading.get_ident())


@atexit.register
def _settle():
    _ending.set()
    while _busy or time.monotonic() - _last_call < QUIET_SECONDS:
        time.sleep(QUIET_SECONDS / 10)
