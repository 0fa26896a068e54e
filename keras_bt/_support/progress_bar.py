"""Progress bars on stderr, and stages whose length is unknown."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

TICK_SECONDS = 1.0


def progress_bar(**options: Any) -> "tqdm":
    """A progress bar that redraws every second on a terminal, every 30 seconds in a log file.

    Args:
        **options: See `tqdm`.
    """
    from tqdm import tqdm  # late: `import keras_bt` must be fast

    seconds = TICK_SECONDS if sys.stderr.isatty() else 30.0  # each redraw adds a line to a log file
    return tqdm(mininterval=seconds, dynamic_ncols=True, **options)


class Ticker:
    """Redraws a bar each second on a terminal, so that its clock moves while nothing else does.

    Args:
        bar: From `progress_bar`.
    """

    def __init__(self, bar: "tqdm") -> None:
        self._bar, self._stopped = bar, threading.Event()
        if sys.stderr.isatty():
            threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while not self._stopped.wait(TICK_SECONDS):
            self._bar.refresh()

    def stop(self) -> None:
        """Ends the redrawing."""
        self._stopped.set()


@contextlib.contextmanager
def stage(description: str, shown: bool = True) -> Iterator[None]:
    """Shows a stage of unknown length; on a terminal, also how long it takes.

    Args:
        description: What is being done.
        shown: False shows nothing.

    Example:
        >>> with stage("scoring", shown=False):
        ...     pass
    """
    if not shown or not sys.stderr.isatty():
        if shown:
            print(f"{description} ...", file=sys.stderr, flush=True)
        yield
        return
    bar = progress_bar(desc=description, bar_format="{desc}: {elapsed}")
    ticker = Ticker(bar)
    try:
        yield
    finally:
        ticker.stop()
        bar.close()
