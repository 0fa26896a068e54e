"""Progress bars on stderr."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def progress_bar(**options: Any) -> "tqdm":
    """A progress bar that redraws every second on a terminal, every 30 seconds in a log file.

    Args:
        **options: See `tqdm`.
    """
    from tqdm import tqdm  # late: `import keras_bt` must be fast

    seconds = 1.0 if sys.stderr.isatty() else 30.0  # every redraw adds a line to a log file
    return tqdm(mininterval=seconds, dynamic_ncols=True, **options)
