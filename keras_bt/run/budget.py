"""How many steps fit into a span of time on this machine."""

import time

import keras

from keras_bt.distribution import workers
from keras_bt.evaluation import schedule
from keras_bt.report import writer

WARM_UP_STEPS = 3  # the first compiles, the next fill caches
LEAST_STEPS = 5
MEASURED_SECONDS, MEASURED_SHARE = 5.0, 0.02  # at least, and of the budget
OTHERS_SHARE = schedule.SHARE + writer.SHARE  # checkpoints are few


def steps_in(minutes, model, batches):
    """Training steps that fit into a budget, by measuring a few of them.

    The model's weights, the states of its views among them, are put back afterwards; its
    optimizer is to be compiled anew, with a schedule of so many steps.

    Args:
        minutes: Float, above 0. Wall-clock budget, with what is compiled, looked at and saved.
        model: A compiled `BarlowTwins`.
        batches: What its `fit` takes, endless.

    Returns:
        Int, at least 1. Of several workers the chief's.

    Raises:
        ValueError: If the budget is not above 0.

    Example:
        >>> steps_in(0, model=None, batches=None)
        Traceback (most recent call last):
            ...
        ValueError: minutes must be above 0, got 0.
    """
    if minutes <= 0:
        raise ValueError(f"minutes must be above 0, got {minutes}.")
    weights = model.get_weights()

    def chiefs(value):
        return workers.gather_from_workers(model.distribute_strategy, value)[0]

    first, seconds = _seconds_of_steps(model, batches, LEAST_STEPS)
    steps = chiefs(int(max(MEASURED_SECONDS, MEASURED_SHARE * 60 * minutes) / seconds))
    if steps > LEAST_STEPS:
        _, seconds = _seconds_of_steps(model, batches, steps)
    model.set_weights(weights)
    for_steps = minutes * 60 * (1 - OTHERS_SHARE) - first  # which compiles, and will again
    return chiefs(max(1, int(for_steps / seconds)))


def epochs_in(minutes, model, batches, steps_per_epoch):
    """Epochs that fill a budget, by measuring a few steps.

    Args:
        minutes: See `steps_in`.
        model: See `steps_in`.
        batches: See `steps_in`.
        steps_per_epoch: Int. Batches in the images.

    Returns:
        epochs, and steps in each: about `steps_per_epoch`.
    """
    steps = steps_in(minutes, model, batches)
    epochs = max(1, round(steps / steps_per_epoch))
    return epochs, -(-steps // epochs)


def _seconds_of_steps(model, batches, steps):
    """Of the first, and of a later one with what `fit` does in between, such as waiting for images.

    `train_on_batch` will not do: it knows no replicas.
    """
    clock = _Clock()
    model.fit(batches, steps_per_epoch=WARM_UP_STEPS + steps, callbacks=[clock], verbose=0)
    return clock.ends[0], (clock.ends[-1] - clock.ends[WARM_UP_STEPS - 1]) / steps


class _Clock(keras.callbacks.Callback):
    """When each step had its loss, in seconds from the first one's beginning."""

    def on_train_begin(self, logs=None):
        self.ends = []

    def on_train_batch_begin(self, batch, logs=None):
        if not self.ends:
            self._began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])
        self.ends.append(time.perf_counter() - self._began)
