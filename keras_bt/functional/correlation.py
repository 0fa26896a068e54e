"""Standardized embeddings and their cross-correlation, in matrix form and in Gram form.

Results are float32, or float64 for float64 input. A batch may lie on several replicas.
"""

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_bt.functional.replicas import ONE_REPLICA, Replicas

# Embeddings are computed in units of 2^20, where float32 holds the squares of values from
# 1e-12 to 1e23. A power of two changes no bit otherwise.
SCALE = 2.0**-20
MIN_EPSILON = 1e-24  # times SCALE^2; a smaller one would be 0 in float32

Pair = tuple[tf.Tensor, tf.Tensor]  # of view A and view B


def standardize(
    z: tf.Tensor,
    *,
    epsilon: float = 1e-5,
    centered: bool = True,
    replicas: Replicas = ONE_REPLICA,
) -> tf.Tensor:
    """Gives every embedding dimension mean 0 and variance 1 over the global batch.

        z_hat = (z - mean(z)) / sqrt(var(z) + epsilon)        over the batch axis

    Args:
        z: Float tensor [batch, dim]. Embeddings.
        epsilon: Added to the biased variance, at least 1e-24. Keeps constant dimensions finite.
        centered: False keeps the mean: z / sqrt(mean(z^2) + epsilon).
        replicas: Replicas that hold the batch.

    Returns:
        Tensor [batch, dim], float64 for float64 input and float32 otherwise.

    Raises:
        ValueError: If `z` does not have rank 2, or the batch holds a single embedding.

    Example:
        >>> standardize([[1.0, 5.0], [3.0, 5.0]], epsilon=0.01).numpy().round(3)
        array([[-0.995,  0.   ],
               [ 0.995,  0.   ]], dtype=float32)

    Source: facebookresearch/barlowtwins main.py@8e8d284, BatchNorm1d(affine=False).
    """
    z = _rescaled(z)
    _check_rank(z)
    return _standardized([z], *_shifts_and_scales([z], epsilon, centered, replicas)[:2])[0]


def cross_correlation(
    z_a: tf.Tensor, z_b: tf.Tensor, *, replicas: Replicas = ONE_REPLICA
) -> tf.Tensor:
    """Correlation of every dimension of view A with every dimension of view B.

        c[i, j] = mean over the batch of  z_a[b, i] * z_b[b, j]

    Args:
        z_a: Float tensor [batch, dim]. Standardized embeddings of view A.
        z_b: Float tensor [batch, dim]. The same images in the same order, view B.
        replicas: Replicas that hold the batch.

    Returns:
        Tensor [dim, dim], entries in [-1, 1] up to rounding.

    Example:
        >>> z = tf.constant([[1.0, -1.0], [-1.0, 1.0]])
        >>> cross_correlation(z, z).numpy()
        array([[ 1., -1.],
               [-1.,  1.]], dtype=float32)

    Source: arXiv 2103.03230, equation 2.
    """
    # Two sums: a single one would copy all of c to send both together.
    return replicas.sum(tf.matmul(z_a, z_b, transpose_a=True)) / replicas.sum(_row_count(z_a))


def rescaled_pair(z_a: tf.Tensor, z_b: tf.Tensor) -> Pair:
    """Checks the embeddings of both views, and returns them as float32 or float64 times `SCALE`.

    Raises:
        ValueError: If the shapes differ or do not have rank 2.
    """
    z_a, z_b = _rescaled(z_a), _rescaled(z_b)
    if not z_a.shape.is_compatible_with(z_b.shape):
        raise ValueError(
            "The embeddings of the two views must have one shape [batch, dim], "
            f"got {z_a.shape} and {z_b.shape}."
        )
    _check_rank(z_a)
    if None in z_a.shape[:1] + z_b.shape[:1]:
        # A static shape is missing, and a batch of one row would broadcast without an error.
        message = "The embeddings of the two views must have one shape."
        tf.debugging.assert_equal(tf.shape(z_a), tf.shape(z_b), message)
    return z_a, z_b


@dataclasses.dataclass(frozen=True)
class Correlation:
    """The parts of c, and of a redundancy, that the loss and its gradient use.

    The redundancy of squares is that of e = c - target.

    Args:
        standardized: Tensors [rows, dim] of view A and view B: this replica's z_hat.
        scales: Tensors [dim] of view A and view B: 1 / sqrt(variance + epsilon).
        images: Scalar tensor. Number of images in the global batch.
        diagonal: Tensor [dim]: c_ii.
        excess: Tensor [dim]: the part of the diagonal that `pulls` and `products` count, though the
            redundancy does not: e_ii, or 0.
        redundancy: Scalar tensor: sum_{i != j} e_ij^2, or another redundancy.
        products: Tensors [dim]: sum_n(pull_a z_hat_a) and sum_n(pull_b z_hat_b) over all replicas;
            for squares sum_j c_ij e_ij and sum_i c_ij e_ij.
        pulls: Returns tensors [rows, dim]: half of the gradient for z_hat_a and z_hat_b; for
            squares z_hat_b e^T / batch and z_hat_a e / batch.
    """

    standardized: Pair
    scales: Pair
    images: tf.Tensor
    diagonal: tf.Tensor
    excess: tf.Tensor
    redundancy: tf.Tensor
    products: Pair
    pulls: Callable[[], Pair]


def correlate_by_matrix(
    views: Pair, epsilon: float, centered: bool, replicas: Replicas
) -> Correlation:
    """Builds c [dim, dim], summed over replicas. The target is 0.

    Args:
        views: Tensors [rows, dim] of view A and view B, from `rescaled_pair`.
        epsilon: See `standardize`.
        centered: See `standardize`.
        replicas: Replicas that hold the batch.
    """
    shifts, scales, images = _shifts_and_scales(views, epsilon, centered, replicas)
    a, b = _standardized(views, shifts, scales)
    c = cross_correlation(a, b, replicas=replicas)
    squared = tf.square(c)
    products = tf.reduce_sum(squared, axis=1), tf.reduce_sum(squared, axis=0)

    def pulls() -> Pair:
        return tf.matmul(b, c / images, transpose_b=True), tf.matmul(a, c / images)

    diagonal = tf.linalg.diag_part(c)
    return Correlation(
        standardized=(a, b),
        scales=scales,
        images=images,
        diagonal=diagonal,
        excess=diagonal,
        redundancy=tf.reduce_sum(products[0]) - tf.reduce_sum(tf.square(diagonal)),
        products=products,
        pulls=pulls,
    )


def correlate_by_gram(
    views: Pair, epsilon: float, centered: bool, replicas: Replicas
) -> Correlation:
    """Avoids c by z_hat_b c^T = (z_hat_b z_hat_b^T) z_hat_a / batch. The target is 0.

    Each replica gathers all rows of z_hat and computes its own rows of the [batch, batch]
    products.

    Args:
        views: See `correlate_by_matrix`.
        epsilon: See `correlate_by_matrix`.
        centered: See `correlate_by_matrix`.
        replicas: See `correlate_by_matrix`.
    """
    batch = views
    if replicas.count > 1:
        batch = tf.split(replicas.gather(tf.concat(views, axis=1)), 2, axis=1)
    shifts, scales, images = _shifts_and_scales(batch, epsilon, centered, ONE_REPLICA)
    batch_a, batch_b = _standardized(batch, shifts, scales)
    a, b = (batch_a, batch_b) if batch is views else _standardized(views, shifts, scales)
    gram_a = tf.matmul(a, batch_a, transpose_b=True) / tf.square(images)
    gram_b = tf.matmul(b, batch_b, transpose_b=True) / tf.square(images)
    pulls = gram_b @ batch_a, gram_a @ batch_b
    products = replicas.sum([tf.reduce_sum(a * pulls[0], 0), tf.reduce_sum(b * pulls[1], 0)])
    diagonal = tf.reduce_sum(batch_a * batch_b, axis=0) / images
    return Correlation(
        standardized=(a, b),
        scales=scales,
        images=images,
        diagonal=diagonal,
        excess=diagonal,
        redundancy=tf.reduce_sum(products[0]) - tf.reduce_sum(tf.square(diagonal)),
        products=products,
        pulls=lambda: pulls,
    )


def own_correlations(
    views: Pair, epsilon: float, centered: bool, replicas: Replicas
) -> tuple[Pair, Pair, tf.Tensor, tf.Tensor, Pair]:
    """The embeddings of each view correlated with themselves, and the diagonal of c.

    Args:
        views: See `correlate_by_matrix`.
        epsilon: See `correlate_by_matrix`.
        centered: See `correlate_by_matrix`.
        replicas: See `correlate_by_matrix`.

    Returns:
        `standardized`, `scales`, `images` and `diagonal` as in `Correlation`, and the correlation
        matrices [dim, dim] of view A and view B.
    """
    shifts, scales, images = _shifts_and_scales(views, epsilon, centered, replicas)
    a, b = _standardized(views, shifts, scales)
    sums = [tf.matmul(a, a, transpose_a=True), tf.matmul(b, b, transpose_a=True)]
    diagonal, own_a, own_b = replicas.sum([tf.reduce_sum(a * b, axis=0), *sums])
    return (a, b), scales, images, diagonal / images, (own_a / images, own_b / images)


def _standardized(
    views: Sequence[tf.Tensor], shifts: Sequence[tf.Tensor], scales: Sequence[tf.Tensor]
) -> tuple[tf.Tensor, ...]:
    """(z - shift) * scale of each view."""
    return tuple((z - shift) * scale for z, shift, scale in zip(views, shifts, scales, strict=True))


def _shifts_and_scales(
    views: Sequence[tf.Tensor], epsilon: float, centered: bool, replicas: Replicas
) -> tuple[tuple[tf.Tensor, ...], tuple[tf.Tensor, ...], tf.Tensor]:
    """Each view's mean and 1 / sqrt(variance + epsilon), and the size of the global batch."""
    images, *totals = replicas.sum(
        [_row_count(views[0]), *(tf.reduce_sum(z, axis=0) for z in views)]
    )
    rows = views[0].shape[0]
    message = "The loss needs at least 2 images"
    if replicas.count == 1 and rows is not None:
        if rows < 2:
            raise ValueError(f"{message}, got a batch of {rows}.")
    else:
        tf.debugging.assert_greater(images, tf.ones_like(images), f"{message}, got fewer.")
    shifts = tuple(total / images if centered else tf.zeros_like(total) for total in totals)
    # A second pass: mean(z^2) - mean(z)^2 loses all digits of the variance at a large mean.
    centered_views = [z - shift for z, shift in zip(views, shifts, strict=True)]
    squares = replicas.sum([tf.reduce_sum(tf.square(z), axis=0) for z in centered_views])
    epsilon = max(epsilon, MIN_EPSILON) * SCALE**2
    scales = tuple(tf.math.rsqrt(square / images + epsilon) for square in squares)
    return shifts, scales, images


def _row_count(z: tf.Tensor) -> tf.Tensor:
    """Number of rows on this replica, in the dtype of `z`."""
    return tf.cast(tf.shape(z)[0], z.dtype)


def _rescaled(z: tf.Tensor) -> tf.Tensor:
    """Embeddings times `SCALE`, in float32 or float64."""
    z = tf.convert_to_tensor(z)
    return SCALE * (z if z.dtype == tf.float64 else tf.cast(z, tf.float32))


def _check_rank(z: tf.Tensor) -> None:
    """Rejects embeddings that are not [batch, dim]."""
    if z.shape.rank != 2 or z.shape[1] is None:
        raise ValueError(f"Embeddings must have shape [batch, dim], got {z.shape}.")
