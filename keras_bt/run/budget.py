"""`epochs_in`: how many epochs fit into a budget of time on this machine."""

import time
from typing import Any

import keras

from keras_bt.distribution import workers
from keras_bt.evaluation import schedule
from keras_bt.model.barlow_twins import BarlowTwins
from keras_bt.report import writer

WARM_UP_STEPS = 3  # the first compiles, the next ones fill caches
LEAST_STEPS = 5
MEASURED_SECONDS, MEASURED_SHARE = 5.0, 0.02  # at least this long, and this share of the budget
OTHERS_SHARE = schedule.MONITOR_TIME_SHARE + writer.REPORT_TIME_SHARE  # checkpoints take little


def steps_in(minutes: float, model: BarlowTwins, batches: Any) -> int:
    """The number of training steps that fit into a budget, from the time of a few steps.

    The weights of the model, including the state of its views, are restored afterwards. The
    optimizer is not: compile the model again with a schedule of that length.

    Args:
        minutes: Budget, above 0, including compilation, monitors and checkpoints.
        model: A compiled model.
        batches: Endless batches for its `fit`.

    Returns:
        Number of steps, at least 1; on several workers the chief's.

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

    def of_chief(value: int) -> int:
        return workers.gather_from_workers(model.distribute_strategy, value)[0]

    first, seconds = _step_seconds(model, batches, LEAST_STEPS)
    steps = of_chief(int(max(MEASURED_SECONDS, MEASURED_SHARE * 60 * minutes) / seconds))
    if steps > LEAST_STEPS:
        _, seconds = _step_seconds(model, batches, steps)
    model.set_weights(weights)
    # The first step compiles, and compiles again after `compile`.
    available = minutes * 60 * (1 - OTHERS_SHARE) - first
    return of_chief(max(1, int(available / seconds)))


def epochs_in(
    minutes: float, model: BarlowTwins, batches: Any, steps_per_epoch: int
) -> tuple[int, int]:
    """The number of epochs that fit into a budget, from the time of a few steps.

    Args:
        minutes: See `steps_in`.
        model: See `steps_in`.
        batches: See `steps_in`.
        steps_per_epoch: Number of batches in one pass over the images.

    Returns:
        Number of epochs, and steps in each: about `steps_per_epoch`.
    """
    steps = steps_in(minutes, model, batches)
    epochs = max(1, round(steps / steps_per_epoch))
    return epochs, -(-steps // epochs)


def _step_seconds(model: BarlowTwins, batches: Any, steps: int) -> tuple[float, float]:
    """Seconds of the first step, and of a later one with what `fit` does between steps."""
    # `train_on_batch` does not work under strategies of several replicas.
    clock = _Clock()
    model.fit(batches, steps_per_epoch=WARM_UP_STEPS + steps, callbacks=[clock], verbose=0)
    return clock.ends[0], (clock.ends[-1] - clock.ends[WARM_UP_STEPS - 1]) / steps


class _Clock(keras.callbacks.Callback):
    """Seconds from the start of the first step until the loss of each step is computed."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.ends: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not self.ends:
            self._start_time = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        float(logs["loss"])
        self.ends.append(time.perf_counter() - self._start_time)
