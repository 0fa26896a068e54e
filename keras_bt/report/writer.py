"""The page of a run written anew while it trains."""

import time
from pathlib import Path

import keras

from keras_bt.report.failures import log_failures
from keras_bt.report.page import write_page

SHARE = 0.01  # of the time of training that the page may take
FIRST_SECONDS = 5.0  # that it is expected to take at first, with the import of matplotlib


class ReportWriter(keras.callbacks.Callback):
    """Writes report.html after epochs, as often as a hundredth of the time allows.

    It is also written when training ends before its last epoch.

    Args:
        folder: Path of the run's folder.

    Example:
        >>> ReportWriter("runs/digits").file.name
        'report.html'
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = Path(folder)
        self.file = self.folder / "report.html"

    def on_train_begin(self, logs=None):
        self._ended_epochs = 0
        self._due = time.monotonic() + FIRST_SECONDS / SHARE

    def on_epoch_begin(self, epoch, logs=None):
        # Not at an epoch's end: its line is in metrics.jsonl when the next one begins.
        began = time.monotonic()
        if began >= self._due:
            self.write()
            self._due = time.monotonic() + (time.monotonic() - began) / SHARE

    def on_epoch_end(self, epoch, logs=None):
        self._ended_epochs = epoch + 1

    def on_train_end(self, logs=None):
        if 0 < self._ended_epochs < self.params["epochs"]:
            self.write()

    def write(self):
        """Writes the page as the run now is."""
        with log_failures(self.file):
            write_page([self.folder], self.file)

    def write_if_older(self):
        """Writes the page of a finished run that was killed before it was written."""
        result = self.folder / "result.json"
        if not (self.file.exists() and self.file.stat().st_mtime >= result.stat().st_mtime):
            self.write()
