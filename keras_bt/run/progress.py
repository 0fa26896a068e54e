"""What is shown while a model trains: a line that moves, or lines of JSON."""

import json
import time

import keras

from keras_bt._support.progress_bar import progress_bar


class Progress(keras.callbacks.Callback):
    """What is told of a training while it runs.

    Args:
        total_steps: Int.
        batch_size: Int, over all replicas.
        loss_floor: Float, or None where it is not known. See `keras_bt.loss_floor`.
        first_step: Int. Where it goes on.
        start: `StartLoss` or None.
    """

    def __init__(self, total_steps, batch_size, loss_floor, first_step=0, start=None):
        super().__init__()
        self.total_steps = total_steps
        self.batch_size = batch_size
        self.loss_floor = loss_floor
        self.first_step = first_step
        self.start = start


class ProgressBar(Progress):
    """One bar for the whole training: the loss, its floor, where it began, the k-NN accuracy.

        41%|████| 902/2200 [00:34<00:48, 26.9step/s, images/s=3440, loss=21.4, floor=0, start=260]

    Args:
        As `Progress`.

    Example:
        >>> ProgressBar(total_steps=2200, batch_size=128, loss_floor=0.0).total_steps
        2200
    """

    def on_train_begin(self, logs=None):
        self._knn = {}
        self._bar = progress_bar(total=self.total_steps, initial=self.first_step, unit="step")

    def on_train_batch_end(self, batch, logs=None):
        if self._bar.update():  # it was just redrawn: reading the loss each step would wait for it
            self._show(logs)

    def on_epoch_end(self, epoch, logs=None):
        if "knn_accuracy" in logs:
            self._knn = {"knn": f"{logs['knn_accuracy']:.3f}"}
        self._show(logs)

    def _show(self, logs):
        rate = self._bar.format_dict["rate"]
        shown = {"images/s": f"{rate * self.batch_size:.0f}"} if rate else {}
        shown["loss"] = f"{logs['loss']:.4g}"
        if self.loss_floor is not None:
            shown["floor"] = f"{self.loss_floor:.4g}"
        if self.start and self.start.loss is not None:
            shown["start"] = f"{self.start.loss:.4g}"
        self._bar.set_postfix({**shown, **self._knn}, refresh=False)

    def on_train_end(self, logs=None):
        self._bar.close()


class EpochLines(Progress):
    """Prints a line of JSON an epoch, for jobs that read it.

        {"epoch": 41, "epochs": 100, "images_per_second": 3440.1, "seconds_left": 48.2,
         "loss_floor": 0.0, "untrained_loss": 260.1, "loss": 21.4, "knn_accuracy": 0.951}

    Args:
        As `Progress`.

    Example:
        >>> EpochLines(total_steps=2200, batch_size=128, loss_floor=0.0).total_steps
        2200
    """

    def on_train_begin(self, logs=None):
        self._began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        step = (epoch + 1) * self.total_steps // self.params["epochs"]
        seconds_a_step = (time.monotonic() - self._began) / max(1, step - self.first_step)
        line = {
            "epoch": epoch + 1,
            "epochs": self.params["epochs"],
            "images_per_second": round(self.batch_size / seconds_a_step, 1),
            "seconds_left": round((self.total_steps - step) * seconds_a_step, 1),
            "loss_floor": self.loss_floor,
            "untrained_loss": self.start and self.start.loss,
        }
        print(json.dumps({**line, **logs}, default=float), flush=True)
