"""The two terms of the Barlow Twins loss with their closed-form gradient, and the loss floor."""

import dataclasses
from collections.abc import Callable
from math import inf

import tensorflow as tf

from keras_bt.functional.correlation import (
    Correlation,
    Pair,
    correlate_by_gram,
    correlate_by_matrix,
    rescaled_pair,
)
from keras_bt.functional.costs import cheaper_form, check_form, gram_is_cheaper
from keras_bt.functional.log_determinant import correlate_by_log_determinant
from keras_bt.functional.replicas import ONE_REPLICA, Replicas

REDUNDANCY_WEIGHTS = {"squares": 0.0051, "log_determinant": 1.0}  # the paper's; ours
REDUNDANCIES = tuple(REDUNDANCY_WEIGHTS)


def invariance_and_redundancy(
    z_a: tf.Tensor,
    z_b: tf.Tensor,
    *,
    epsilon: float = 1e-5,
    centered: bool = True,
    form: str = "auto",
    redundancy_target: float = 0.0,
    redundancy: str = "squares",
    replicas: Replicas = ONE_REPLICA,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The two terms of the Barlow Twins loss, over the batch of all replicas.

        invariance = sum_i (1 - c_ii)^2        redundancy = sum_{i != j} (c_ij - target)^2

    The paper's target is 0. The gradient is in closed form and sends nothing between replicas.
    With the excess e = c - target, the standardized embeddings z_hat and images n, for view A:

        pull = z_hat_b e^T / batch
        ∂ loss / ∂ z_hat_a:   g = 2 (redundancy' (pull - e_ii z_hat_b / batch)
                                     - invariance' (1 - c_ii) z_hat_b / batch)
        ∂ loss / ∂ z_a:       scale (g - z_hat_a sum_n(g z_hat_a) / batch)

    where redundancy' and invariance' are the gradients of the two terms. For view B, transpose
    c and swap the views. The sums over n are known from the forward pass:
    sum_n(pull z_hat_a) = sum_j c_ij e_ij and sum_n(z_hat_a z_hat_b) / batch = c_ii.

    Args:
        z_a: Float tensor [batch, dim]. Embeddings of view A.
        z_b: Float tensor [batch, dim]. Embeddings of view B, same images, same order.
        epsilon: See `standardize`.
        centered: See `standardize`.
        form: "matrix" builds c [dim, dim] and sums it over replicas. "gram" gathers the
            embeddings and builds rows of the [batch, batch] Gram matrices, nothing
            [dim, dim]. "auto" takes the cheaper one. Value and gradient are the same.
        redundancy_target: Target of c_ij, in [-1, 1]; -1 is the HSIC form.
        redundancy: "squares", as above, or "log_determinant", as in
            `log_determinant.correlate_by_log_determinant`; that has the form "matrix" and the
            target 0.
        replicas: Replicas that hold the batch.

    Returns:
        Two scalar tensors, the same on every replica: invariance and (unweighted)
        redundancy. Their gradient follows `tf.distribute`: it is the gradient of the sum of
        all replicas' copies, `replicas.count` times the gradient of one.

    Raises:
        ValueError: If the shapes differ or do not have rank 2, the batch holds a single
            embedding, or `form` is unknown.

    Example:
        >>> z = tf.constant([[1.0, 1.0], [-1.0, -1.0]])
        >>> [round(float(term), 3) for term in invariance_and_redundancy(z, z)]
        [0.0, 2.0]

    Source: arXiv 2103.03230, equation 1; facebookresearch/barlowtwins main.py@8e8d284.
        Target -1: arXiv 2104.13712; yaohungt/Barlow-Twins-HSIC main.py@a30baba.
    Differs from source: float32 under any precision policy; the true gradient, where the
        source's is 1 / replicas of it; divides by the actual batch size, where the source
        divides by the nominal one even for a short last batch.
    """
    check_form(form)
    check_redundancy(redundancy, form, redundancy_target)
    z_a, z_b = rescaled_pair(z_a, z_b)
    rows, dim = z_a.shape
    if form == "auto":
        form = cheaper_form(rows, dim, replicas.count)

    def terms(correlate: Callable[..., Correlation]) -> Pair:
        def correlate_views(views: Pair) -> Correlation:
            c = correlate(views, epsilon, centered, replicas)
            return _with_target(c, redundancy_target, replicas) if redundancy_target else c

        return _terms_with_gradient(correlate_views, replicas)(z_a, z_b)

    if redundancy == "log_determinant":
        return terms(correlate_by_log_determinant)
    if form == "unknown":
        return tf.cond(
            gram_is_cheaper(tf.shape(z_a, tf.int64)[0], dim, replicas=1),
            lambda: terms(correlate_by_gram),
            lambda: terms(correlate_by_matrix),
        )
    return terms(correlate_by_matrix if form == "matrix" else correlate_by_gram)


def check_redundancy(redundancy: str, form: str, target: float) -> None:
    """Rejects an unknown redundancy, and one that does not fit the form or the target.

    Raises:
        ValueError: If `redundancy` is not one of `REDUNDANCIES`, or is "log_determinant" with the
            form "gram" or a target other than 0.
    """
    if redundancy not in REDUNDANCIES:
        raise ValueError(f"redundancy must be one of {REDUNDANCIES}, got {redundancy!r}.")
    if redundancy == "log_determinant" and form == "gram":
        raise ValueError("redundancy 'log_determinant' has no form 'gram'; use 'matrix' or 'auto'.")
    if redundancy == "log_determinant" and target:
        raise ValueError(
            f"redundancy 'log_determinant' has the target 0, got redundancy_target {target}."
        )


def _terms_with_gradient(
    correlate: Callable[[Pair], Correlation], replicas: Replicas
) -> Callable[[tf.Tensor, tf.Tensor], Pair]:
    """Both terms as a function of the embeddings, with the gradient of the docstring above."""

    @replicas.custom_gradient
    def terms(z_a: tf.Tensor, z_b: tf.Tensor) -> tuple[Pair, Callable[..., Pair]]:
        c = correlate((z_a, z_b))
        invariance = tf.reduce_sum(tf.square(1.0 - c.diagonal))

        def gradient(d_invariance: tf.Tensor, d_redundancy: tf.Tensor) -> Pair:
            diagonal_pull = d_invariance * (1.0 - c.diagonal) + d_redundancy * c.excess

            def view_gradient(
                z_hat: tf.Tensor,
                other_z_hat: tf.Tensor,
                scale: tf.Tensor,
                products: tf.Tensor,
                pull: tf.Tensor,
            ) -> tf.Tensor:
                g = d_redundancy * pull - diagonal_pull / c.images * other_z_hat
                along_z_hat = d_redundancy * products - diagonal_pull * c.diagonal
                projected = g - along_z_hat / c.images * z_hat
                return 2.0 * float(replicas.count) * scale * projected

            a, b = c.standardized
            grad_a, grad_b = map(view_gradient, (a, b), (b, a), c.scales, c.products, c.pulls())
            return grad_a, grad_b

        return (invariance, c.redundancy), gradient

    return terms


def _with_target(c: Correlation, target: float, replicas: Replicas) -> Correlation:
    """C for another target than 0; it needs sum_j c_ij = sum_n(z_hat_a sum_j(z_hat_b)) / batch."""
    a, b = c.standardized
    row_sums = [tf.reduce_sum(z, axis=1, keepdims=True) / c.images for z in (b, a)]
    sums = replicas.sum([tf.reduce_sum(a * row_sums[0], 0), tf.reduce_sum(b * row_sums[1], 0)])
    excess = c.diagonal - target
    squares = c.redundancy + tf.reduce_sum(tf.square(c.diagonal))
    squares -= target * (2.0 * tf.reduce_sum(sums[0]) - target * a.shape[1] ** 2)

    def pulls() -> Pair:
        pull_a, pull_b = c.pulls()
        return pull_a - target * row_sums[0], pull_b - target * row_sums[1]

    return dataclasses.replace(
        c,
        excess=excess,
        redundancy=squares - tf.reduce_sum(tf.square(excess)),
        products=(c.products[0] - target * sums[0], c.products[1] - target * sums[1]),
        pulls=pulls,
    )


def loss_floor(
    batch_size: int, dim: int, redundancy_weight: float, *, centered: bool = True
) -> float:
    """The lowest value that the loss can reach, for any embeddings.

        r = batch_size - 1                    the highest rank of c
        k = min(redundancy_weight, 1) * (dim / r - 1)
        floor = dim * k / (1 + k)  if dim > r  else 0

    c is a sum of `batch_size` outer products. With more dimensions than images it therefore
    cannot be the identity. At the floor every c_ii is 1 / (1 + k). From a weight of 1 on, the floor
    is dim - r: the loss is at least the squared distance of c to the identity, and a c with r ones
    on its diagonal and zeros elsewhere reaches that.

    Args:
        batch_size: Global batch size, at least 2.
        dim: Width of the embedding.
        redundancy_weight: The paper's lambda, at least 0.
        centered: False for the uncentered loss, where the highest rank is `batch_size`.

    Returns:
        The floor.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> round(loss_floor(2048, 8192, 0.0051), 1)
        123.5
        >>> loss_floor(256, 128, 0.0051), loss_floor(9, 12, 2.0)
        (0.0, 4.0)
    """
    if batch_size < 2:
        raise ValueError(f"batch_size must be at least 2, got {batch_size}.")
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}.")
    if not 0.0 <= redundancy_weight < inf:
        raise ValueError(
            f"redundancy_weight must be finite and at least 0, got {redundancy_weight}."
        )
    rank = batch_size - 1 if centered else batch_size
    k = min(redundancy_weight, 1.0) * max(dim / rank - 1.0, 0.0)
    return dim * k / (1.0 + k)
