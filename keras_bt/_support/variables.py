"""Restores variables after a block."""

import contextlib
from collections.abc import Iterable, Iterator

import keras
import tensorflow as tf


@contextlib.contextmanager
def restored(variables: Iterable[keras.Variable]) -> Iterator[None]:
    """Restores the values of variables when the block ends.

    Args:
        variables: Keras variables.

    Example:
        >>> variable = keras.Variable(1.0)
        >>> with restored([variable]):
        ...     variable.assign(2.0).numpy()
        np.float32(2.0)
        >>> variable.numpy()
        np.float32(1.0)
    """
    variables = list(variables)
    values = [tf.identity(variable.value) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
