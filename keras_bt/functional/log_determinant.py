"""Redundancy as the log-determinant of the correlation matrix: what its squared entries expand."""

import math

import tensorflow as tf

from keras_bt.functional.correlation import Correlation, Pair, own_correlations
from keras_bt.functional.replicas import Replicas

RIDGE = 0.01  # keeps the matrix invertible; bounds the redundancy of D dimensions by 4.6 (D - 1)


def correlate_by_log_determinant(
    views: Pair, epsilon: float, centered: bool, replicas: Replicas
) -> Correlation:
    """The parts of the loss whose redundancy is a log-determinant, summed over replicas.

        R = (z_hat_a^T z_hat_a + z_hat_b^T z_hat_b) / (2 batch)
        redundancy = -log det((R + ridge I) / (1 + ridge))        ridge = 0.01

    R is the correlation matrix of the embedding over both views. If the embedding is Gaussian and
    the ridge 0, the redundancy is twice the information, in nats, that its dimensions share (their
    total correlation). It is 0 for R = I and above 0 otherwise. With E = R - I,

        -log det(I + E) = sum_ij E_ij^2 / 2 - trace(E^3) / 3 + ...

    so near the identity it is half the sum of squares. Far from it, as at the start of training,
    the squares push hardest against the strongest direction that the dimensions share; the
    log-determinant pushes towards the directions that they lack. Its gradient,

        pull = -z_hat_a (R + ridge I)^-1 / (2 batch)        (half of ∂ redundancy / ∂ z_hat_a)

    needs one Cholesky decomposition [dim, dim].

    Args:
        views: Tensors [rows, dim] of view A and view B, from `rescaled_pair`.
        epsilon: See `standardize`.
        centered: See `standardize`.
        replicas: Replicas that hold the batch.

    Source: the total correlation of a Gaussian, Watanabe 1960. As an objective with another
        invariance term: arXiv 2209.07999 (CorInfoMax).
    Differs from source: correlations instead of covariances, of both views together and of this
        batch instead of a running mean.
    """
    standardized, scales, images, diagonal, own = own_correlations(
        views, epsilon, centered, replicas
    )
    dim = own[0].shape[0]
    r = (own[0] + own[1]) / 2.0
    root = tf.linalg.cholesky(tf.linalg.set_diag(r, tf.linalg.diag_part(r) + RIDGE))
    inverse = tf.linalg.cholesky_solve(root, tf.eye(dim, dtype=r.dtype))
    log_determinant = 2.0 * tf.reduce_sum(tf.math.log(tf.linalg.diag_part(root)))

    def pulls() -> Pair:
        a, b = standardized
        factor = -inverse / (2.0 * images)
        return tf.matmul(a, factor), tf.matmul(b, factor)

    return Correlation(
        standardized=standardized,
        scales=scales,
        images=images,
        diagonal=diagonal,
        products=tuple(-tf.reduce_sum(matrix * inverse, axis=1) / 2.0 for matrix in own),
        excess=tf.zeros_like(diagonal),
        redundancy=dim * math.log1p(RIDGE) - log_determinant,
        pulls=pulls,
    )
