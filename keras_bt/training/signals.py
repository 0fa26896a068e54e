"""Handles SIGTERM and SIGINT between steps, so that a checkpoint can be written."""

import signal
import threading
from types import FrameType
from typing import Any, NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Not replaced: ignored signals, as SIGINT in a background job, and handlers outside Python.
UNCHANGED = (signal.SIG_IGN, None)


class TrainingInterrupted(BaseException):
    """Raised when a signal asks the process to end.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    def exit(self) -> NoReturn:
        """Ends the process as the signal does: KeyboardInterrupt, or exit status 128 + number."""
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt from self
        raise SystemExit(128 + self.number) from self


class SignalHandler:
    """Raises `TrainingInterrupted` at SIGTERM and SIGINT, or delays it.

    A second SIGINT raises KeyboardInterrupt at once. Outside the main thread Python delivers no
    signals, and `listen` does nothing.

    Attributes:
        delayed: Whether signals wait until `release`.
        received: Number of the received signal, or None.

    Example:
        >>> signals = SignalHandler()
        >>> signals.listen()
        >>> signals.delayed = True
        >>> signal.raise_signal(signal.SIGTERM)
        >>> signals.received == signal.SIGTERM
        True
        >>> signals.close()
    """

    def __init__(self) -> None:
        self.delayed = False
        self.received: int | None = None
        self._previous_handlers: dict[int, Any] = {}

    def listen(self) -> None:
        """Handles the signals until `close`."""
        if not self._previous_handlers and threading.current_thread() is threading.main_thread():
            handled = [number for number in SIGNALS if signal.getsignal(number) not in UNCHANGED]
            self._previous_handlers = {
                number: signal.signal(number, self._handle) for number in handled
            }

    def close(self) -> None:
        """Restores the previous handlers."""
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        self._previous_handlers = {}

    def release(self) -> None:
        """Ends the delay; raises `TrainingInterrupted` if a signal was received meanwhile."""
        self.delayed = False
        if self.received is not None:
            self._interrupt(self.received)

    def _interrupt(self, number: int) -> NoReturn:
        self.delayed = True  # a second signal must not interrupt the work after the first
        raise TrainingInterrupted(number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        second_sigint = number == self.received == signal.SIGINT
        self.received = number
        if second_sigint:
            raise KeyboardInterrupt
        if not self.delayed:
            self._interrupt(number)
