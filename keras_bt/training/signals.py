"""Signals that ask a process to end, and wait until it may."""

import signal
import threading

SIGNALS = (signal.SIGTERM, signal.SIGINT)
NOT_OURS = (signal.SIG_IGN, None)  # ignored, as SIGINT by a job in the background


class TrainingInterrupted(BaseException):
    """A signal has asked the process to end.

    Args:
        number: Int. The signal's.
    """

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number

    def leave(self):
        """Ends as the signal would have: by KeyboardInterrupt, or with a shell's status for it."""
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt from self
        raise SystemExit(128 + self.number) from self


class SignalHandler:
    """SIGTERM and SIGINT, raised as `TrainingInterrupted` at once or, while held, kept.

    A second SIGINT is not kept. Outside of the main thread, where Python knows no signals,
    nothing happens.

    Attributes:
        held: Bool. Whether signals wait.
        signal: Int, the one that came, or None.

    Example:
        >>> interruption = SignalHandler()
        >>> interruption.listen()
        >>> interruption.held = True
        >>> signal.raise_signal(signal.SIGTERM)
        >>> interruption.signal == signal.SIGTERM
        True
        >>> interruption.close()
    """

    def __init__(self):
        self.held = False
        self.signal = None
        self._before = {}

    def listen(self):
        """Takes over the signals, until `close`."""
        if not self._before and threading.current_thread() is threading.main_thread():
            ours = [number for number in SIGNALS if signal.getsignal(number) not in NOT_OURS]
            self._before = {number: signal.signal(number, self._receive) for number in ours}

    def close(self):
        """Leaves the signals to who had them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def release(self):
        """Lets signals through, one that waited first."""
        self.held = False
        if self.signal is not None:
            self._raise()

    def _raise(self):
        self.held = True  # a second signal is not to end what the first has begun
        raise TrainingInterrupted(self.signal)

    def _receive(self, number, frame):
        impatient = number == self.signal == signal.SIGINT
        self.signal = number
        if impatient:
            raise KeyboardInterrupt
        if not self.held:
            self._raise()
