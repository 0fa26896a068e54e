"""Mixed samples: convex combinations of two views, and the penalty on their embeddings.

The gradient is TensorFlow's own. Everything here works on a single replica.
"""

import tensorflow as tf

from keras_bt.functional.correlation import cross_correlation, standardize
from keras_bt.functional.costs import check_form


def mix(
    a: tf.Tensor, b: tf.Tensor, share: float | tf.Tensor, order: tf.Tensor | list[int]
) -> tf.Tensor:
    """Mixes each row of one batch with some row of another.

        mixed = share a + (1 - share) b[order]

    Args:
        a: Float tensor [batch, ...].
        b: Float tensor [batch, ...].
        share: Float or scalar tensor in [0, 1], the source's alpha.
        order: Int tensor [batch]. A permutation.

    Returns:
        Tensor [batch, ...] of the same dtype.

    Example:
        >>> mix(tf.constant([0.0, 2.0]), tf.constant([4.0, 8.0]), 0.75, [1, 0]).numpy()
        array([2. , 2.5], dtype=float32)

    Source: arXiv 2312.02151; wgcban/mix-bt main.py@f915e4e, `pos_m`.
    """
    share = tf.cast(share, a.dtype)
    return share * a + (1 - share) * tf.gather(b, order)


def mixed_sample_penalty(
    z_a: tf.Tensor,
    z_b: tf.Tensor,
    z_mixed: tf.Tensor,
    share: float | tf.Tensor,
    order: tf.Tensor | list[int],
    *,
    epsilon: float = 1e-5,
    centered: bool = True,
    form: str = "auto",
) -> tf.Tensor:
    """Penalizes mixed samples that do not correlate with both views as the mixture would.

        penalty = sum_ij (C(m, a) - share C(a, a) - (1 - share) C(b[order], a))_ij^2
                + sum_ij (C(m, b) - share C(a, b) - (1 - share) C(b[order], b))_ij^2

    with C(x, y) = x_hat^T y_hat / batch. With r = m_hat - mix(a_hat, b_hat) this is

        penalty = ||r^T [a_hat b_hat]||^2 / batch^2                                 matrix
                = <r r^T, [a_hat b_hat] [a_hat b_hat]^T> / batch^2                  gram

    Args:
        z_a: Float tensor [batch, dim]. Embeddings of view A.
        z_b: Float tensor [batch, dim]. Embeddings of view B, same images, same order.
        z_mixed: Float tensor [batch, dim]. Embeddings of `mix` of the views themselves.
        share: See `mix`.
        order: See `mix`.
        epsilon: See `standardize`.
        centered: See `standardize`.
        form: "matrix", "gram" or "auto", which takes the form with fewer multiplications.

    Returns:
        Scalar tensor.

    Raises:
        ValueError: If embeddings do not have rank 2, or `form` is unknown.

    Example:
        >>> z = tf.constant([[1.0, 1.0], [-1.0, -1.0]])
        >>> float(mixed_sample_penalty(z, z, z, 0.5, [0, 1]))
        0.0

    Source: arXiv 2312.02151; wgcban/mix-bt main.py@f915e4e, `loss_mix`.
    Differs from source: standardizes by the biased variance, like the rest of our loss.
    """
    check_form(form)
    a, b, mixed = (standardize(z, epsilon=epsilon, centered=centered) for z in (z_a, z_b, z_mixed))
    residual, views = mixed - mix(a, b, share, order), tf.concat([a, b], axis=1)
    rows, dim = a.shape
    if form == "auto":
        # 2 batch dim^2 multiplications, or 3 batch^2 dim; matrix for an unknown batch
        form = "gram" if rows is not None and 3 * rows < 2 * dim else "matrix"
    if form == "matrix":
        return tf.reduce_sum(tf.square(cross_correlation(residual, views)))
    images = tf.cast(tf.shape(a)[0], a.dtype)
    residual_gram, view_gram = (
        tf.matmul(z, z, transpose_b=True) / images for z in (residual, views)
    )
    return tf.reduce_sum(residual_gram * view_gram)
