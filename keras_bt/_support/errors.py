"""One-line error messages."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if the message is empty.

    Example:
        >>> first_line(ValueError("too many", "of them")), first_line(KeyError())
        ("('too many', 'of them')", 'KeyError')
    """
    return (str(error) or type(error).__name__).splitlines()[0]


def python_error(error: tf.errors.OpError) -> str | None:
    """The message of an OSError that Python raised inside `tf.data`; None for other errors.

    Example:
        >>> def fail():
        ...     raise OSError("The disk is gone.")
        >>> dataset = tf.data.Dataset.range(1)
        >>> dataset = dataset.map(lambda _: tf.numpy_function(fail, [], tf.int64))
        >>> try:
        ...     list(dataset)
        ... except tf.errors.OpError as error:
        ...     python_error(error)
        'The disk is gone.'
    """
    found = re.search(r"\bOSError: (.*)", error.message)
    return found and found[1]


@contextlib.contextmanager
def assertions_in_one_line() -> Iterator[None]:
    """Raises a ValueError of one line for an assertion that fails in a graph.

    TensorFlow's own error has the call stack of the graph, dozens of lines.

    Example:
        >>> @tf.function
        ... def check(number):
        ...     tf.debugging.Assert(number < 3, ["Too large, got", number])
        >>> with assertions_in_one_line():
        ...     check(tf.constant(3))
        Traceback (most recent call last):
            ...
        ValueError: Too large, got 3
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        failed = re.search(r"assertion failed: \[(.*)\]", error.message)
        if failed is None:
            raise
        message = failed[1].split("] [Condition x")[0].replace("] [", " ")
        raise ValueError(message) from None
