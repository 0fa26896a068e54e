"""Stops a training whose loss is no number any more."""

import math

import keras


class StopAtNonFinite(keras.callbacks.Callback):
    """Raises at the end of the first epoch whose loss is NaN or infinite.

    To be the first of the callbacks, so that nothing after it sees such numbers.

    Raises:
        FloatingPointError: Naming the epoch and the value.

    Example:
        >>> StopAtNonFinite().on_epoch_end(1, {"loss": float("nan")})
        Traceback (most recent call last):
            ...
        FloatingPointError: The loss is nan in epoch 2; a lower learning rate may help.
    """

    def on_epoch_end(self, epoch, logs=None):
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss} in epoch {epoch + 1}; a lower learning rate may help."
            )
