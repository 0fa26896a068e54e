"""Imports TensorFlow with oneDNN on, and without its start-up lines."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from keras_bt._support import onednn

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def import_tensorflow() -> None:
    """Imports TensorFlow, if it is not imported yet, and hides what it prints while starting.

    TensorFlow 2.21 prints about oneDNN and missing GPUs whatever its log level is, because it
    does so before its log is set up. A log level that the user has set is left alone, and then
    everything is printed. What an import that fails has printed is printed too.

    Example:
        >>> import_tensorflow()
    """
    onednn.turn_on()
    if "tensorflow" in sys.modules or LOG_LEVEL in os.environ:
        return
    os.environ[LOG_LEVEL] = "2"
    with _standard_error_hidden():
        import tensorflow as tf

        if not Path("/dev/nvidiactl").exists():
            # Prints an error about CUDA on machines without a GPU, once a process.
            tf.config.list_physical_devices("GPU")


@contextlib.contextmanager
def _standard_error_hidden() -> Iterator[None]:
    """Redirects file descriptor 2, on which C++ prints; shows what was printed if it raises."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            os.write(kept, hidden.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
