"""Rewrites the report during training."""

import time
from pathlib import Path
from typing import Any

import keras

from keras_bt.report.failures import log_failures
from keras_bt.report.page import write_report

REPORT_TIME_SHARE = 0.01  # of the training time
FIRST_REPORT_SECONDS = 5.0  # expected, with the import of matplotlib


class ReportWriter(keras.callbacks.Callback):
    """Writes `report.html` between epochs, in at most 1 % of the training time.

    It also writes the report when training stops before its last epoch.

    Args:
        folder: Folder of the run.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.file = self.folder / "report.html"

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._completed_epochs = 0
        self._next_time = time.monotonic() + FIRST_REPORT_SECONDS / REPORT_TIME_SHARE

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # Not in on_epoch_end: metrics.jsonl does not have the line of that epoch yet.
        start = time.monotonic()
        if start >= self._next_time:
            self.write()
            end = time.monotonic()
            self._next_time = end + (end - start) / REPORT_TIME_SHARE

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._completed_epochs = epoch + 1

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if 0 < self._completed_epochs < self.params["epochs"]:
            self.write()

    def write(self) -> None:
        """Writes the report from the current files of the run."""
        with log_failures(self.file):
            write_report([self.folder], self.file)

    def write_if_older(self) -> None:
        """Writes the report if it is missing or older than `result.json`.

        This happens when a run is killed between writing `result.json` and the report.
        """
        result = self.folder / "result.json"
        if not (self.file.exists() and self.file.stat().st_mtime >= result.stat().st_mtime):
            self.write()
