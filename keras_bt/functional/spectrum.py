"""Effective rank, principal variances and spread of a set of vectors."""

import tensorflow as tf

FLOAT32_ROUNDING = 2.0**-23


def effective_rank(x: tf.Tensor) -> tf.Tensor:
    """Effective number of directions in which the rows of a matrix vary.

        s = singular values of x - mean(x)        p = s / sum(s)
        effective_rank = exp(-sum_i p_i log p_i)

    It is k for rows that vary equally in k directions, and at most min(rows - 1, dim). Equal
    rows have rank 0: singular values below the float32 rounding of `x` count as 0.

    Args:
        x: Float tensor [rows, dim], finite. Features or embeddings, one per row.

    Returns:
        Float32 scalar tensor.

    Example:
        >>> float(effective_rank([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        2.0
        >>> float(effective_rank([[7.0, 7.0], [7.0, 7.0]]))
        0.0

    Source: RankMe, arXiv 2210.02885, equation 1.
    Differs from source: centers the rows, as the loss does; the source adds 1e-7 to each p.
    """
    s = tf.sqrt(_squared_singular_values(x))
    s = tf.where(s > FLOAT32_ROUNDING * tf.norm(tf.cast(x, tf.float64)), s, 0.0)
    p = tf.math.divide_no_nan(s, tf.reduce_sum(s))
    entropy = -tf.reduce_sum(tf.math.xlogy(p, p))
    return tf.cast(tf.where(tf.reduce_any(s > 0.0), tf.exp(entropy), 0.0), tf.float32)


def variances(x: tf.Tensor) -> tf.Tensor:
    """Variances of the rows of a matrix along their principal axes, ascending.

    Args:
        x: Float tensor [rows, dim], finite.

    Returns:
        Float32 tensor [min(rows, dim)].

    Example:
        >>> variances([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]]).numpy()
        array([0.5, 4.5], dtype=float32)
    """
    x = tf.convert_to_tensor(x)
    return tf.cast(_squared_singular_values(x) / x.shape[0], tf.float32)


def _squared_singular_values(x: tf.Tensor) -> tf.Tensor:
    """Squared singular values of the centered rows, ascending, in float64."""
    # Eigenvalues of the smaller Gram matrix; float64 holds the squares of float32 values.
    x = tf.cast(x, tf.float64)
    centered = x - tf.reduce_mean(x, axis=0)
    rows, dim = x.shape
    gram = tf.matmul(centered, centered, transpose_a=dim < rows, transpose_b=dim >= rows)
    return tf.nn.relu(tf.linalg.eigvalsh(gram))


def spread(x: tf.Tensor) -> tf.Tensor:
    """Standard deviation of each dimension over the rows, with biased variance.

    Args:
        x: Float tensor [rows, dim].

    Returns:
        Float32 tensor [dim].

    Example:
        >>> spread([[1.0, 5.0], [3.0, 5.0]]).numpy()
        array([1., 0.], dtype=float32)
    """
    return tf.cast(tf.math.reduce_std(tf.cast(x, tf.float64), axis=0), tf.float32)
