"""Paths for TensorFlow, which reads those of checkpoints and SavedModels as glob patterns."""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def literal(folder: Path) -> Iterator[Path]:
    """Yields a path from which TensorFlow reads a folder, whatever characters its name has.

    TensorFlow 2.21 takes the path of a checkpoint, and of the weights of a SavedModel, as a glob
    pattern (tensorflow#34290): it does not find those in a folder named "run [1]".

    Args:
        folder: The folder to read.

    Yields:
        The same path, or a symbolic link to the folder that exists during the block.

    Raises:
        ValueError: See `check_utf8`.

    Example:
        >>> with literal(Path("runs/digits [1]")) as path:
        ...     path.name
        'folder'
    """
    check_utf8(folder)
    if not re.search(r"[*?[\\]", str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory(dir="/tmp") as links:  # TMPDIR may be such a path as well
        link = Path(links, "folder")
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link


def check_utf8(path: Path) -> None:
    """Rejects a path that TensorFlow cannot use.

    Args:
        path: File or folder. Linux allows any bytes in its name.

    Raises:
        ValueError: If the path is not UTF-8.
    """
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        # repr: the path itself could not be printed.
        raise ValueError(
            f"The path {str(path)!r} is not UTF-8, as TensorFlow needs; rename the folder."
        ) from error
