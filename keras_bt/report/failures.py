"""Logs errors of optional work instead of raising them."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger("keras_bt")


@contextlib.contextmanager
def log_failures(name: str | Path) -> Iterator[None]:
    """Logs errors instead of raising them.

    Args:
        name: The file or folder that the block writes, for the message.

    Example:
        >>> with log_failures("runs/digits/report.html"):
        ...     raise ValueError("logged, not raised")
    """
    try:
        yield
    except OSError as error:  # such as a full disk: its message is enough
        log.warning("%s The run continues.", error)
    except Exception:
        log.warning("%s could not be written. The run continues.", name, exc_info=True)
