"""The line that moves while a model trains."""

import keras

from keras_bt.progress_bar import progress_bar


class ProgressBar(keras.callbacks.Callback):
    """One bar for the whole training: the loss, its floor, where it began, and the k-NN accuracy.

        41%|████| 902/2200 [00:34<00:48, 26.9step/s, loss=21.4, floor=0, start=260, knn=0.951]

    Args:
        total_steps: Int.
        loss_floor: Float, or None where it is not known. See `keras_bt.loss_floor`.
        first_step: Int. Where it goes on.
        start: `StartLoss` or None.

    Example:
        >>> ProgressBar(total_steps=2200, loss_floor=0.0).total_steps
        2200
    """

    def __init__(self, total_steps, loss_floor, first_step=0, start=None):
        super().__init__()
        self.start = start
        self.first_step = first_step
        self.total_steps = total_steps
        self.loss_floor = loss_floor
        self._knn = {}

    def on_train_begin(self, logs=None):
        self._bar = progress_bar(total=self.total_steps, initial=self.first_step, unit="step")

    def on_train_batch_end(self, batch, logs=None):
        if self._bar.update():  # it was just redrawn: reading the loss each step would wait for it
            self._show(logs)

    def on_epoch_end(self, epoch, logs=None):
        if "knn_accuracy" in logs:
            self._knn = {"knn": f"{logs['knn_accuracy']:.3f}"}
        self._show(logs)

    def _show(self, logs):
        shown = {"loss": f"{logs['loss']:.4g}"}
        if self.loss_floor is not None:
            shown["floor"] = f"{self.loss_floor:.4g}"
        if self.start and self.start.loss is not None:
            shown["start"] = f"{self.start.loss:.4g}"
        self._bar.set_postfix({**shown, **self._knn}, refresh=False)

    def on_train_end(self, logs=None):
        self._bar.close()
