"""Random draws that are a function of a seed and of how often one has drawn."""

import random

import tensorflow as tf

PHILOX_WORDS = 4  # 32-bit words for each count of the generator


def uniform_draws(seed_and_calls, rows, columns, first_row=0):
    """Rows of draws from [0, 1) out of an endless table, and counts the call.

    Args:
        seed_and_calls: Keras variable, int64 [2]: one table for each of its values.
        rows: Int or scalar tensor.
        columns: Int, a multiple of 4.
        first_row: Int or scalar int64 tensor. The table's row to begin with.

    Returns:
        Float32 tensor [rows, columns], multiples of 2^-24.

    Example:
        >>> import keras
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
    # Integer bits of Philox agree between TensorFlow's kernels and XLA; its floats do not.
    bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[rows, columns],
        key=key,
        counter=counter + tf.stack([skipped, tf.zeros_like(skipped)]),
        alg=tf.random.Algorithm.PHILOX.value,
        dtype=tf.uint32,
    )
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24


def add_seed_and_calls(layer, seed):
    """Gives a layer the weight that `uniform_draws` draws by; a seed of None is drawn first.

    Args:
        layer: `keras.layers.Layer`.
        seed: Int, or None for one from Python's `random`, as Keras does.

    Returns:
        Keras variable, int64 [2]. A weight, for a `keras.random.SeedGenerator` is saved nowhere.

    Example:
        >>> import keras
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
