"""Several calls of Keras's `fit` that are one training to its callbacks."""

import keras


class ContinuousCallbackList(keras.callbacks.CallbackList):
    """The callbacks of a training, and what else is to happen between its steps.

    `fit` tells of a beginning and an end at each of its calls, and counts an epoch's batches
    anew; callbacks are told once (`begin`, `end`), and of the batches' place in the epoch.

    Args:
        callbacks: Keras callbacks.
        model: `keras.Model`.
        epochs: Int. Of the whole training.
        steps_per_epoch: Int.
        begin_epoch: Function without arguments, called when `fit` has reset the logs. It
            returns how many steps of the epoch were done before.
        begin_step: Function without arguments, called before a step.
        end_step: Function of the number of steps since `begin_epoch`, called after each.
        end_epoch: Function without arguments, called before the callbacks are told.
        epoch_was_told: Function of an epoch and its logs, with what monitors added to them.

    Example:
        >>> called = dict.fromkeys(("begin_epoch", "begin_step", "end_step"), print)
        >>> called |= dict.fromkeys(("end_epoch", "epoch_was_told"), print)
        >>> model = keras.Sequential()
        >>> told = ContinuousCallbackList([], model, epochs=2, steps_per_epoch=9, **called)
        >>> told.begin()
        >>> told.on_epoch_end(0, {"loss": 1.5})
        <BLANKLINE>
        0 {'loss': 1.5}
    """

    def __init__(
        self,
        callbacks,
        model,
        epochs,
        steps_per_epoch,
        *,
        begin_epoch,
        begin_step,
        end_step,
        end_epoch,
        epoch_was_told,
    ):
        last = keras.callbacks.LambdaCallback(on_epoch_end=epoch_was_told)
        params = {"epochs": epochs, "steps": steps_per_epoch, "verbose": 0}
        super().__init__([*callbacks, last], add_history=True, model=model, **params)
        self._begin_epoch, self._begin_step = begin_epoch, begin_step
        self._end_step, self._end_epoch = end_step, end_epoch

    def begin(self):
        """Tells that the training begins."""
        super().on_train_begin()

    def end(self):
        """Tells that the training ends."""
        super().on_train_end()

    def begin_told_epoch(self, epoch):
        """Tells that an epoch begins whose steps are all done."""
        super().on_epoch_begin(epoch)

    def on_train_begin(self, logs=None):
        pass

    def on_train_end(self, logs=None):
        pass

    def on_epoch_begin(self, epoch, logs=None):
        self._done = self._begin_epoch()
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        self._begin_step()
        super().on_train_batch_begin(self._done + batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(self._done + batch, logs)
        self._end_step(batch + 1)

    def on_epoch_end(self, epoch, logs=None):
        self._end_epoch()
        super().on_epoch_end(epoch, logs)
