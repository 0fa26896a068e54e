"""Random draws determined by a seed and a count of calls, the same on any device."""

import random

import keras
import tensorflow as tf

PHILOX_WORDS = 4  # 32-bit words for each value of the generator's counter


def uniform_draws(
    seed_and_calls: keras.Variable,
    rows: int | tf.Tensor,
    columns: int,
    first_row: int | tf.Tensor = 0,
) -> tf.Tensor:
    """Draws rows from [0, 1) out of an endless table, and counts the call.

    Args:
        seed_and_calls: int64 [2]. Each value has a table of its own.
        rows: Int or scalar tensor.
        columns: A multiple of 4.
        first_row: Int or scalar int64 tensor. First row of the table to return.

    Returns:
        Float32 tensor [rows, columns], multiples of 2^-24.

    Raises:
        ValueError: If `columns` is not a multiple of 4.

    Example:
        >>> two, one = (keras.Variable([7, 0], dtype="int64") for _ in range(2))
        >>> draws = uniform_draws(two, 2, 4)
        >>> bool(tf.reduce_all(uniform_draws(one, 1, 4, first_row=1) == draws[1:]))
        True
        >>> one.numpy()
        array([7, 1])
    """
    if columns % PHILOX_WORDS:
        raise ValueError(f"columns must be a multiple of {PHILOX_WORDS}, got {columns}.")
    seed = tf.identity(seed_and_calls.value)
    seed_and_calls.assign(seed + tf.constant([0, 1], seed.dtype))
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    skipped = tf.cast(first_row, tf.uint64) * (columns // PHILOX_WORDS)
    # Philox integers agree between TensorFlow 2.21's kernels and XLA; its floats do not.
    bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[rows, columns],
        key=key,
        counter=counter + tf.stack([skipped, tf.zeros_like(skipped)]),
        alg=tf.random.Algorithm.PHILOX.value,
        dtype=tf.uint32,
    )
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24


def add_seed_and_calls(layer: keras.Layer, seed: int | None) -> keras.Variable:
    """Adds to a layer the weight `seed_and_calls` of `uniform_draws`.

    A weight, because no file keeps the state of a `keras.random.SeedGenerator` (Keras 3.15).

    Args:
        layer: Any Keras layer.
        seed: Seed; None draws one from Python's `random`, as Keras does.

    Returns:
        Keras variable, int64 [2].

    Example:
        >>> add_seed_and_calls(keras.layers.Layer(), 7).numpy()
        array([7, 0])
    """
    start = random.randint(0, 2**31 - 1) if seed is None else seed
    return layer.add_weight(
        name="seed_and_calls",
        shape=(2,),
        dtype="int64",
        trainable=False,
        initializer=lambda shape, dtype: tf.constant([start, 0], dtype),
    )
