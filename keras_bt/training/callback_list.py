"""Callbacks that see several calls of Keras's `fit` as one training."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

Logs = dict[str, Any] | None


class ContinuousCallbackList(keras.callbacks.CallbackList):
    """Callbacks of one training, and functions that are called between its steps.

    Each call of `fit` begins and ends a training, and counts the batches of an epoch from 0.
    Here callbacks see one beginning (`begin`), one end (`end`), and the batch's index in the
    epoch.

    Args:
        callbacks: Keras callbacks.
        model: The model to train.
        epochs: Epochs of the whole training.
        steps_per_epoch: Steps in an epoch.
        begin_epoch: Called at the beginning of an epoch, after `fit` has reset the metrics.
            Returns the number of steps already trained in the epoch.
        begin_step: Called before each step.
        end_step: Called after each step with the number of steps since `begin_epoch`.
        end_epoch: Called at the end of an epoch, before the callbacks.
        save_epoch: Called at the end of an epoch, after the callbacks, with the epoch and its
            logs. Callbacks may have added metrics to the logs.

    Example:
        >>> functions = dict.fromkeys(("begin_epoch", "begin_step", "end_step"), print)
        >>> functions |= dict.fromkeys(("end_epoch", "save_epoch"), print)
        >>> model = keras.Sequential()
        >>> callbacks = ContinuousCallbackList([], model, 2, steps_per_epoch=9, **functions)
        >>> callbacks.begin()
        >>> callbacks.on_epoch_end(0, {"loss": 1.5})
        <BLANKLINE>
        0 {'loss': 1.5}
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        model: keras.Model,
        epochs: int,
        steps_per_epoch: int,
        *,
        begin_epoch: Callable[[], int],
        begin_step: Callable[[], None],
        end_step: Callable[[int], None],
        end_epoch: Callable[[], None],
        save_epoch: Callable[[int, dict[str, Any]], None],
    ) -> None:
        last = keras.callbacks.LambdaCallback(on_epoch_end=save_epoch)
        params = {"epochs": epochs, "steps": steps_per_epoch, "verbose": 0}
        super().__init__([*callbacks, last], add_history=True, model=model, **params)
        self._begin_epoch, self._begin_step = begin_epoch, begin_step
        self._end_step, self._end_epoch = end_step, end_epoch
        self._earlier_steps = 0

    def begin(self) -> None:
        """Calls `on_train_begin` of the callbacks."""
        super().on_train_begin()

    def end(self) -> None:
        """Calls `on_train_end` of the callbacks."""
        super().on_train_end()

    def begin_trained_epoch(self, epoch: int) -> None:
        """Calls `on_epoch_begin` of the callbacks for an epoch that has all its steps."""
        super().on_epoch_begin(epoch)

    def on_train_begin(self, logs: Logs = None) -> None:
        pass

    def on_train_end(self, logs: Logs = None) -> None:
        pass

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._earlier_steps = self._begin_epoch()
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self._begin_step()
        super().on_train_batch_begin(self._earlier_steps + batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        super().on_train_batch_end(self._earlier_steps + batch, logs)
        self._end_step(batch + 1)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._end_epoch()
        super().on_epoch_end(epoch, logs)
