"""How much room a set of vectors takes: in how many directions, and how far in each."""

import tensorflow as tf

FLOAT32_ROUNDING = 2.0**-23


def effective_rank(x):
    """Over how many directions the rows of a matrix are spread, counted by their share.

        s = singular values of x - mean(x)        p = s / sum(s)
        effective_rank = exp(-sum_i p_i log p_i)

    It is k for rows that spread alike in k directions, at the most min(rows - 1, dim). Rows
    that are all the same have rank 0: what float32 cannot tell from 0 beside x counts as 0.

    Args:
        x: Float tensor [rows, dim], finite. Representations or embeddings, one a row.

    Returns:
        Float32 scalar tensor.

    Example:
        >>> float(effective_rank([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        2.0
        >>> float(effective_rank([[7.0, 7.0], [7.0, 7.0]]))
        0.0

    Source: RankMe, arXiv 2210.02885, equation 1.
    Differs from source: rows are centered, as the loss centers them; the source adds 1e-7 to
        each share.
    """
    s = tf.sqrt(_squared_singular_values(x))
    s = tf.where(s > FLOAT32_ROUNDING * tf.norm(tf.cast(x, tf.float64)), s, 0.0)
    share = tf.math.divide_no_nan(s, tf.reduce_sum(s))
    entropy = -tf.reduce_sum(tf.math.xlogy(share, share))
    return tf.cast(tf.where(tf.reduce_any(s > 0.0), tf.exp(entropy), 0.0), tf.float32)


def variances(x):
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


def _squared_singular_values(x):
    # The eigenvalues of a Gram matrix are squares of singular values: float64 holds them.
    x = tf.cast(x, tf.float64)
    centered = x - tf.reduce_mean(x, axis=0)
    rows, dim = x.shape
    gram = tf.matmul(centered, centered, transpose_a=dim < rows, transpose_b=dim >= rows)
    return tf.nn.relu(tf.linalg.eigvalsh(gram))


def spread(x):
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
