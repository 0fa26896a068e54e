"""Locks a folder for one process."""

import fcntl
import logging
import os
from pathlib import Path

from keras_bt._support import atomic


def locked(folder: Path, advice: str, wait: bool = False) -> int:
    """An open descriptor of a folder's lock, held until it is closed or the process ends.

    Args:
        folder: The folder; made if it does not exist.
        advice: What to do if another process holds the lock.
        wait: Whether to wait for that process instead.

    Raises:
        ValueError: If another process holds the lock.
        atomic.WriteError: If the folder cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> os.close(locked(folder, "wait"))
    """
    file = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT)  # NFS locks no read-only file
    except OSError as error:
        raise atomic.WriteError(folder, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        os.close(descriptor)
        raise ValueError(f"Another process is running in {folder}; {advice}.") from error
    except OSError as error:
        reason = "%s cannot be locked (%s); start no other process with this folder."
        logging.getLogger("keras_bt").warning(reason, file, error)
    return descriptor
