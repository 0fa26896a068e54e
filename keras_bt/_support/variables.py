"""Variables that are looked at or used without a trace."""

import contextlib

import tensorflow as tf


@contextlib.contextmanager
def restored(variables):
    """Gives variables the values back that they had before a block.

    Args:
        variables: Keras variables.

    Example:
        >>> import keras
        >>> variable = keras.Variable(1.0)
        >>> with restored([variable]):
        ...     variable.assign(2.0).numpy()
        np.float32(2.0)
        >>> variable.numpy()
        np.float32(1.0)
    """
    before = [tf.identity(variable.value) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
