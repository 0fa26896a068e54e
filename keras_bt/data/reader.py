"""Reads encoded images for `tf.data`, and replaces those that cannot be read."""

import atexit
import contextlib
import io
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_bt.data.decode import decode_image, image_and_label
from keras_bt.data.files import UnreadableError, printable
from keras_bt.data.images import Images

MAX_REPLACED = 100
# Eight small files per call of Python: single calls take four times as long as the decoding.
SMALL_BYTES, SMALL_AT_ONCE = 2**16, 8
QUIET_SECONDS = 0.2


class Reader:
    """Reads encoded images by index.

    Args:
        count: Number of images.
        read: Returns an image by its index, as bytes for `decode_image` that have been decoded
            before. Raises `UnreadableError`. Called by several threads.
        name: Returns the name of an image by its index, for messages.
        mean_bytes: Mean size of the images.
        when_all_are_read: Called once, when every image has been read or found unreadable.

    Attributes:
        replaced: Names of images that could not be read and were replaced by others.
    """

    def __init__(
        self,
        count: int,
        read: Callable[[int], bytes],
        name: Callable[[int], str],
        mean_bytes: float,
        when_all_are_read: Callable[[], None] = lambda: None,
    ) -> None:
        self.count, self.name = count, name
        self.replaced: set[str] = set()
        self._read, self._lock = read, threading.Lock()
        self._seen, self._left, self._when_all_are_read = bytearray(count), count, when_all_are_read
        self._at_once = SMALL_AT_ONCE if mean_bytes < SMALL_BYTES else 1
        # Pillow warns about files that it can read. `catch_warnings` is not for several threads.
        warnings.filterwarnings("ignore", module=r"PIL\.")

    def images(
        self,
        name: str,
        labels: Sequence[int] | np.ndarray | None,
        file_names: Sequence[str] | None = None,
    ) -> Images:
        """The images of this reader, in the order of their indices.

        Args:
            name: See `Images`.
            labels: One class number per image, or None.
            file_names: See `Images`.

        Raises:
            OSError: If none of the first images can be read.
        """
        label_tensor = None if labels is None else tf.constant(labels, tf.int64)

        def decode(read: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            label = None if label_tensor is None else tf.gather(label_tensor, read["index"])
            return image_and_label(decode_image(read["encoded"]), label)

        self._readable(0)
        return Images(
            name,
            self.count,
            tf.data.Dataset.range(self.count),
            decode,
            labels is not None,
            shuffle_buffer=self.count,
            fetch=self.fetch,
            replaced=self.replaced,
            file_names=file_names,
        )

    def fetch(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """Reads images in the order of their indices.

        Args:
            indices: Dataset of int64 in 0...count - 1.

        Returns:
            Dataset of dicts {"encoded", "index"}: an image for `decode_image`, and its index.
            The index differs from the requested one if that image could not be read.
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
            encoded, found = zip(*map(self._readable, indices), strict=True)
            return np.array(encoded, object), np.array(found, np.int64)

    def _readable(self, index: int) -> tuple[bytes, int]:
        """An encoded image and its index: the requested one, or the next readable one."""
        for offset in range(min(MAX_REPLACED, self.count)):
            found = (int(index) + offset) % self.count
            try:
                return self._read(found), found
            except UnreadableError as error:
                self._report(self.name(found), error)
                reason = str(error)
            finally:
                self._count_once(found)
        before = f" and the {offset} images before it" if offset else ""
        raise OSError(f"{printable(self.name(found))}{before} cannot be read: {reason}.")

    def _count_once(self, index: int) -> None:
        """Notes that an image has been read."""
        if self._seen[index]:
            return
        with self._lock:
            self._left -= not self._seen[index]
            self._seen[index] = True
            is_last = not self._left
        if is_last:
            self._when_all_are_read()

    def _report(self, name: str, error: UnreadableError) -> None:
        """Logs a replaced image, once."""
        with self._lock:
            if name in self.replaced:
                return
            self.replaced.add(name)
        log = logging.getLogger(__name__)
        log.warning("Another image replaces %s: %s.", printable(name), error)


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
