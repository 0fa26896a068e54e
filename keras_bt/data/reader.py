"""How `tf.data` gets files that were examined: those that are gone by then are replaced."""

import atexit
import logging
import threading
import time

import numpy as np
import tensorflow as tf

from keras_bt.data.files import UnreadableError, encoded_image, shown

MOST_REPLACED = 100
QUIET_SECONDS = 0.2
PLACEHOLDER = tf.io.encode_png(tf.zeros([1, 1, 3], tf.uint8)).numpy()


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
        self.count, self.replaced = len(paths), set()
        self._paths, self._records, self._max_pixels = paths, records, max_pixels
        self._lock = threading.Lock()

    def read(self, index):
        """The image of a number, or the next that can be read.

        Args:
            index: int64 scalar tensor.

        Returns:
            Scalar tensors: the encoded image, for `decode_image`; int64, its number.
        """
        encoded, found = tf.numpy_function(
            _until_the_end(self._read), [index], (tf.string, tf.int64), stateful=False
        )
        return tf.ensure_shape(encoded, []), tf.ensure_shape(found, [])

    def _read(self, index):
        for offset in range(min(MOST_REPLACED, self.count)):
            found = (index + offset) % self.count
            path, record = self._paths[found], self._records[found]
            try:
                return encoded_image(path, record, self._max_pixels), np.int64(found)
            except UnreadableError as error:
                self._report(path, error)
        raise OSError(f"{shown(path)} and the {offset} images before it can no longer be read.")

    def _report(self, path, error):
        with self._lock:
            if path in self.replaced:
                return
            self.replaced.add(path)
        logging.getLogger(__name__).warning("Another image replaces %s: %s.", shown(path), error)


# A thread of tf.data that calls into Python while Python ends never comes back, and
# TensorFlow waits for it for ever. So at the end calls give a placeholder, with which the
# pipelines soon are full, and Python waits until they are.
_ending = threading.Event()
_busy: set[int] = set()
_last_call = 0.0


def _until_the_end(read):
    def read_or_not(index):
        global _last_call
        _busy.add(threading.get_ident())
        try:
            return (PLACEHOLDER, index) if _ending.is_set() else read(index)
        finally:
            _last_call = time.monotonic()
            _busy.discard(threading.get_ident())

    return read_or_not


@atexit.register
def _settle():
    _ending.set()
    while _busy or time.monotonic() - _last_call < QUIET_SECONDS:
        time.sleep(QUIET_SECONDS / 10)
