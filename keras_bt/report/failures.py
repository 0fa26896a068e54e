"""What a run can do without: it goes on when that fails."""

import contextlib
import logging

log = logging.getLogger("keras_bt")


@contextlib.contextmanager
def log_failures(what):
    """Has a run go on when something within fails, and logs what.

    Args:
        what: String or `Path`, what is made.

    Example:
        >>> with log_failures("runs/digits/report.html"):
        ...     raise ValueError("no ink")  # a line of the log, and the run goes on
    """
    try:
        yield
    except OSError as error:  # such as a full disk, which says enough
        log.warning("%s The run goes on.", error)
    except Exception:
        log.warning("%s could not be made. The run goes on.", what, exc_info=True)
