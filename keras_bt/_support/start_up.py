"""Imports TensorFlow with oneDNN and without its start-up messages; checks Keras's backend."""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from keras_bt._support import onednn

STARTED = time.monotonic()  # about the beginning of a process that runs a command
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
BACKENDS = ("jax", "torch", "openvino", "mlx")  # packages of Keras's other backends
COMMAND_LINE = ("keras-bt", "-m")  # "-m" while Python imports the package for `python -m keras_bt`
GPU_DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # on Linux, and in Windows' subsystem for Linux


def import_tensorflow() -> None:
    """Imports TensorFlow, enables oneDNN and hides the messages of the import.

    TensorFlow 2.21 prints messages about oneDNN and missing GPUs before it reads its log level.
    So stderr is hidden during the import. If the import fails, everything that it printed is
    shown. A log level that the user has set stays, and then nothing is hidden.
    """
    onednn.turn_on()
    if "tensorflow" in sys.modules or LOG_LEVEL in os.environ:
        return
    os.environ[LOG_LEVEL] = "2"
    try:
        with _hidden_stderr():
            import tensorflow as tf

            if not any(Path(driver).exists() for driver in GPU_DRIVERS):
                # Without a GPU, TensorFlow prints a CUDA error the first time it lists devices.
                tf.config.list_physical_devices("GPU")
    finally:
        # TensorFlow has read it. Child processes would mistake it for the user's, and hide nothing.
        del os.environ[LOG_LEVEL]


def check_backend() -> None:
    """Imports Keras and raises an error unless it computes with TensorFlow.

    On the command line, prints the error and ends the process with status 2.

    Raises:
        ImportError: If the backend is another one.
    """
    try:
        import keras

        backend = keras.config.backend()
    except (ModuleNotFoundError, ValueError) as error:  # not installed, or unknown
        missing = getattr(error, "name", None)
        named = missing if missing in BACKENDS else "tensorflow"  # in keras.json
        backend = os.environ.get("KERAS_BACKEND", named)
        if backend == "tensorflow":
            raise
    if backend == "tensorflow":
        return
    message = (
        f"keras_bt needs Keras's TensorFlow backend, got {backend!r}; set the environment variable "
        "KERAS_BACKEND=tensorflow before Python starts."
    )
    if Path(sys.argv[0]).stem in COMMAND_LINE:
        print(f"keras-bt: {message}", file=sys.stderr)
        sys.exit(2)
    raise ImportError(message)


@contextlib.contextmanager
def _hidden_stderr() -> Iterator[None]:
    """Hides what Python and C++ print on stderr; shows it if the block raises."""
    if sys.stderr is None:  # the process was started without stderr
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            hidden.seek(0)
            os.write(stderr, hidden.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
