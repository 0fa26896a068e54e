"""Progress displays: a bar on a terminal, or a line of JSON per epoch."""

import json
import time
from collections.abc import Mapping
from typing import Any

import keras

from keras_bt._support.progress_bar import Ticker, progress_bar
from keras_bt.run.start import StartLoss

Logs = Mapping[str, Any]
EMPTY: Logs = {}


class Progress(keras.callbacks.Callback):
    """Base class of progress displays.

    Args:
        batch_size: Images per step, over all replicas.
        loss_floor: The least possible loss, or None if unknown. See `keras_bt.loss_floor`.
        first_step: Step at which a resumed training starts.
        start: Holds the loss of the first step.
    """

    def __init__(
        self,
        batch_size: int,
        loss_floor: float | None,
        first_step: int = 0,
        start: StartLoss | None = None,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.loss_floor = loss_floor
        self.first_step = first_step
        self.start = start

    @property
    def total_steps(self) -> int:
        """Steps of the whole training; with a budget of time, as far as is known."""
        return self.params["epochs"] * self.params["steps"]


class ProgressBar(Progress):
    """One bar for the whole training: loss, its floor, the first loss, k-NN accuracy.

        41%|████| 902/2200 [00:34<00:48, 26.9step/s, images/s=3440, loss=21.4, floor=1.3, start=260]

    Args:
        See `Progress`.
    """

    def on_train_begin(self, logs: Logs = EMPTY) -> None:
        self._knn: dict[str, str] = {}
        self._bar = progress_bar(total=self.total_steps, initial=self.first_step, unit="step")
        self._ticker = Ticker(self._bar)

    def on_epoch_begin(self, epoch: int, logs: Logs = EMPTY) -> None:
        self._bar.total = self.total_steps

    def on_train_batch_end(self, batch: int, logs: Logs = EMPTY) -> None:
        if self._bar.update():  # only when the bar was redrawn: reading the loss waits for the step
            self._show(logs)

    def on_epoch_end(self, epoch: int, logs: Logs = EMPTY) -> None:
        if "knn_accuracy" in logs:
            self._knn = {"knn": f"{logs['knn_accuracy']:.3f}"}
            if self.start and self.start.untrained_accuracy:
                self._knn["untrained"] = f"{self.start.untrained_accuracy[0]:.3f}"
        self._show(logs)

    def _show(self, logs: Logs) -> None:
        rate = self._bar.format_dict["rate"]
        shown = {"images/s": f"{rate * self.batch_size:.0f}"} if rate else {}
        shown["loss"] = f"{logs['loss']:.4g}"
        if self.loss_floor is not None:
            shown["floor"] = f"{self.loss_floor:.4g}"
        if self.start and self.start.loss is not None:
            shown["start"] = f"{self.start.loss:.4g}"
        self._bar.set_postfix({**shown, **self._knn}, refresh=False)

    def on_train_end(self, logs: Logs = EMPTY) -> None:
        self._ticker.stop()
        self._bar.close()


class EpochLines(Progress):
    """Prints a line of JSON per epoch, for other programs.

        {"epoch": 41, "epochs": 100, "images_per_second": 3440.1, "seconds_left": 48.2,
         "loss_floor": 1.32, "untrained_loss": 260.1, "loss": 21.4, "knn_accuracy": 0.951}

    Args:
        See `Progress`.
    """

    def on_train_begin(self, logs: Logs = EMPTY) -> None:
        self._start_time = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs = EMPTY) -> None:
        step = (epoch + 1) * self.total_steps // self.params["epochs"]
        step_seconds = (time.monotonic() - self._start_time) / max(1, step - self.first_step)
        line = {
            "epoch": epoch + 1,
            "epochs": self.params["epochs"],
            "images_per_second": round(self.batch_size / step_seconds, 1),
            "seconds_left": round((self.total_steps - step) * step_seconds, 1),
            "loss_floor": self.loss_floor,
            "untrained_loss": self.start and self.start.loss,
        }
        print(json.dumps({**line, **logs}, default=float), flush=True)


DISPLAYS: dict[str, tuple[type[Progress], ...]] = {
    "bar": (ProgressBar,),
    "json": (EpochLines,),
    "none": (),
}


def progress_display(kind: str, *arguments: Any) -> list[Progress]:
    """The callbacks of a progress display.

    Args:
        kind: "bar", "json" or "none".
        *arguments: See `Progress`.

    Example:
        >>> [type(display).__name__ for display in progress_display("json", 128, 0.0)]
        ['EpochLines']
    """
    return [display(*arguments) for display in DISPLAYS[kind]]
