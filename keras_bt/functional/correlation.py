"""The Barlow Twins loss as pure functions of two embedding tensors.

Everything here is float32 or wider, knows nothing of Keras and keeps no state. A batch may lie
on several replicas; how to sum and gather across them is handed in as `Replicas`.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from keras_bt.functional.costs import cheaper_form, gram_is_cheaper

FORMS = ("auto", "matrix", "gram")
# Embeddings are computed with in units of 2^20, in which float32 holds the squares of values
# from 1e-12 to 1e23. A power of two changes no bit otherwise.
SCALE = 2.0**-20
LEAST_EPSILON = 1e-24  # times SCALE^2, less would be 0 in float32


@dataclasses.dataclass(frozen=True)
class Replicas:
    """The replicas that hold a batch, each its own rows.

    Args:
        count: Int.
        sum: From a tensor, or a list of them, to its sum over all replicas.
        gather: From a tensor [rows, ...] to the rows of all replicas.
        custom_gradient: As `tf.custom_gradient`, for functions that use the above.

    Example:
        >>> Replicas(count=2, sum=lambda tensor: 2 * tensor).sum(3.0)
        6.0
    """

    count: int = 1
    sum: Callable = lambda tensors: tensors
    gather: Callable = lambda tensor: tensor
    custom_gradient: Callable = tf.custom_gradient


ONE_REPLICA = Replicas()


def standardize(z, *, epsilon=1e-5, centered=True, replicas=ONE_REPLICA):
    """Gives every embedding dimension mean 0 and variance 1 over the global batch.

        z_hat = (z - mean(z)) / sqrt(var(z) + epsilon)        over the batch axis

    Args:
        z: Float tensor [batch, dim]. Embeddings.
        epsilon: Added to the (biased) variance, 1e-24 of it at least; keeps a constant
            dimension finite.
        centered: If false the mean is left in: z / sqrt(mean(z^2) + epsilon).
        replicas: `Replicas` that hold the batch.

    Returns:
        Tensor [batch, dim], float64 for float64 input and float32 otherwise.

    Raises:
        ValueError: If `z` is not of rank 2 or its batch holds a single embedding.

    Example:
        >>> standardize([[1.0, 5.0], [3.0, 5.0]], epsilon=0.01).numpy().round(3)
        array([[-0.995,  0.   ],
               [ 0.995,  0.   ]], dtype=float32)

    Source: facebookresearch/barlowtwins main.py@8e8d284, BatchNorm1d(affine=False).
    """
    z = _scaled(z)
    _check_rank(z)
    return _standardized([z], *_shifts_and_scales([z], epsilon, centered, replicas)[:2])[0]


def cross_correlation(z_a, z_b, *, replicas=ONE_REPLICA):
    """Correlation of every dimension of view A with every dimension of view B.

        c[i, j] = mean over the batch of  z_a[b, i] * z_b[b, j]

    Args:
        z_a: Float tensor [batch, dim]. Standardized embeddings of view A.
        z_b: Float tensor [batch, dim]. The same images in the same order, view B.
        replicas: `Replicas` that hold the batch.

    Returns:
        Tensor [dim, dim], entries in [-1, 1] up to rounding.

    Example:
        >>> z = tf.constant([[1.0, -1.0], [-1.0, 1.0]])
        >>> cross_correlation(z, z).numpy()
        array([[ 1., -1.],
               [-1.,  1.]], dtype=float32)

    Source: arXiv 2103.03230, equation 2.
    """
    # Two sums, for one of both would copy all of c to send them together.
    return replicas.sum(tf.matmul(z_a, z_b, transpose_a=True)) / replicas.sum(_rows(z_a))


def invariance_and_redundancy(
    z_a,
    z_b,
    *,
    epsilon=1e-5,
    centered=True,
    form="auto",
    redundancy_target=0.0,
    replicas=ONE_REPLICA,
):
    """The two terms of the Barlow Twins loss, over the batch of all replicas.

        invariance = sum_i (1 - c_ii)^2        redundancy = sum_{i != j} (c_ij - target)^2

    Target 0 is the paper's. The gradient is written out and sends nothing between replicas.
    With c, and z_hat the standardized embeddings, it is for view A (for view B transpose c
    and swap the views)

        d d_ij^2 summed over j:   pull = z_hat_b d^T / batch        d = c - target
        d loss / d z_hat_a:       g = 2 (redundancy' (pull - d_ii z_hat_b / batch)
                                         - invariance' (1 - c_ii) z_hat_b / batch)
        d loss / d z_a:           scale (g - z_hat_a sum_b(g z_hat_a) / batch)

    where sum_b(pull z_hat_a) = sum_j c_ij d_ij and sum_b(z_hat_a z_hat_b) / batch = c_ii are
    known from the forward pass.

    Args:
        z_a: Float tensor [batch, dim]. Embeddings of view A.
        z_b: Float tensor [batch, dim]. Embeddings of view B, same images, same order.
        epsilon: See `standardize`.
        centered: See `standardize`.
        form: "matrix" builds c [dim, dim], summed across replicas; "gram" gathers the
            embeddings and uses blocks of rows of the [batch, batch] Gram matrices, with
            nothing [dim, dim]; "auto" takes the cheaper. Value and gradient are the same.
        redundancy_target: Float in [-1, 1]. What c_ij is drawn to; -1 is the HSIC form.
        replicas: `Replicas` that hold the batch.

    Returns:
        Two scalar tensors, the same on every replica: invariance and (unweighted)
        redundancy. Their gradient is the one `tf.distribute` gives for a sum over
        replicas: that of all replicas' copies together, `replicas.count` times theirs.

    Raises:
        ValueError: If the shapes differ, are not of rank 2, or hold one embedding only.

    Example:
        >>> z = tf.constant([[1.0, 1.0], [-1.0, -1.0]])
        >>> [round(float(term), 3) for term in invariance_and_redundancy(z, z)]
        [0.0, 2.0]

    Source: arXiv 2103.03230, equation 1; facebookresearch/barlowtwins main.py@8e8d284. Of
        target -1: arXiv 2104.13712; yaohungt/Barlow-Twins-HSIC main.py@a30baba.
    Differs from source: float32 under any precision; the true gradient, the source's is
        1 / replicas of it; divides by the batch at hand, the source by the nominal batch
        even when the last one is short.
    """
    z_a, z_b = _scaled(z_a), _scaled(z_b)
    _check_pair(z_a, z_b)
    if form not in FORMS:
        raise ValueError(f"form must be one of {FORMS}, got {form!r}.")
    rows, dim = z_a.shape
    if form == "auto":
        form = cheaper_form(rows, dim, replicas.count)

    def terms(correlate):
        def less_target(pair):
            c = correlate(pair, epsilon, centered, replicas)
            return _less(c, redundancy_target, replicas) if redundancy_target else c

        return _terms_from(less_target, redundancy_target, replicas.custom_gradient)(z_a, z_b)

    if form == "unknown":
        return tf.cond(
            gram_is_cheaper(tf.shape(z_a, tf.int64)[0], dim, replicas=1),
            lambda: terms(_correlate_by_gram),
            lambda: terms(_correlate_by_matrix),
        )
    return terms(_correlate_by_matrix if form == "matrix" else _correlate_by_gram)


@dataclasses.dataclass(frozen=True)
class _Correlation:
    """What value and gradient need of c and d = c - target. Pairs are of view A and view B."""

    standardized: tuple  # [rows, dim] each: this replica's z_hat
    scales: tuple  # [dim] each: 1 / sqrt(variance + epsilon)
    images: tf.Tensor  # in the global batch
    diagonal: tf.Tensor  # [dim]: c_ii
    norms: tuple  # [dim] each: sums of c_ij d_ij over j, over i
    squares: tf.Tensor  # sum of d_ij^2
    pulls: Callable  # to a pair [rows, dim]: z_hat_b d^T / batch, z_hat_a d / batch
    replicas: float  # how many


def _terms_from(correlate, target, custom_gradient):
    """Both terms as a function of the embeddings, with the gradient of the docstring above."""

    @custom_gradient
    def terms(z_a, z_b):
        c = correlate((z_a, z_b))
        invariance = tf.reduce_sum(tf.square(1.0 - c.diagonal))
        redundancy = c.squares - tf.reduce_sum(tf.square(c.diagonal - target))

        def gradient(of_invariance, of_redundancy):
            towards_one = of_invariance * (1.0 - c.diagonal) + of_redundancy * (c.diagonal - target)

            def of_view(z_hat, other_z_hat, scale, norms, pull):
                g = of_redundancy * pull - towards_one / c.images * other_z_hat
                along = of_redundancy * norms - towards_one * c.diagonal
                return 2.0 * c.replicas * scale * (g - along / c.images * z_hat)

            a, b = c.standardized
            return tuple(map(of_view, (a, b), (b, a), c.scales, c.norms, c.pulls()))

        return (invariance, redundancy), gradient

    return terms


def _correlate_by_matrix(pair, epsilon, centered, replicas):
    shifts, scales, images = _shifts_and_scales(pair, epsilon, centered, replicas)
    a, b = _standardized(pair, shifts, scales)
    c = cross_correlation(a, b, replicas=replicas)
    squared = tf.square(c)
    norms = tf.reduce_sum(squared, axis=1), tf.reduce_sum(squared, axis=0)

    def pulls():
        return tf.matmul(b, c / images, transpose_b=True), tf.matmul(a, c / images)

    return _Correlation(
        standardized=(a, b),
        scales=scales,
        images=images,
        diagonal=tf.linalg.diag_part(c),
        norms=norms,
        squares=tf.reduce_sum(norms[0]),
        pulls=pulls,
        replicas=float(replicas.count),
    )


def _correlate_by_gram(pair, epsilon, centered, replicas):
    """Without c: z_hat_b c^T = (z_hat_b z_hat_b^T) z_hat_a / batch.

    Each replica has all rows of z_hat, and its own rows of the [batch, batch] products.
    """
    batch = pair
    if replicas.count > 1:
        batch = tf.split(replicas.gather(tf.concat(pair, axis=1)), 2, axis=1)
    shifts, scales, images = _shifts_and_scales(batch, epsilon, centered, ONE_REPLICA)
    batch_a, batch_b = _standardized(batch, shifts, scales)
    a, b = (batch_a, batch_b) if batch is pair else _standardized(pair, shifts, scales)
    gram_a = tf.matmul(a, batch_a, transpose_b=True) / tf.square(images)
    gram_b = tf.matmul(b, batch_b, transpose_b=True) / tf.square(images)
    pulls = gram_b @ batch_a, gram_a @ batch_b
    norms = replicas.sum([tf.reduce_sum(a * pulls[0], 0), tf.reduce_sum(b * pulls[1], 0)])
    return _Correlation(
        standardized=(a, b),
        scales=scales,
        images=images,
        diagonal=tf.reduce_sum(batch_a * batch_b, axis=0) / images,
        norms=norms,
        squares=tf.reduce_sum(norms[0]),
        pulls=lambda: pulls,
        replicas=float(replicas.count),
    )


def _less(c, target, replicas):
    """From target 0 to another, by sum_j c_ij = sum_b(z_hat_a sum_j(z_hat_b)) / batch."""
    a, b = c.standardized
    pulls = [tf.reduce_sum(z, axis=1, keepdims=True) / c.images for z in (b, a)]
    sums = replicas.sum([tf.reduce_sum(a * pulls[0], 0), tf.reduce_sum(b * pulls[1], 0)])
    dim = a.shape[1]
    return dataclasses.replace(
        c,
        norms=tuple(norm - target * total for norm, total in zip(c.norms, sums, strict=True)),
        squares=c.squares - target * (2.0 * tf.reduce_sum(sums[0]) - target * dim**2),
        pulls=lambda: tuple(
            pull - target * of_target for pull, of_target in zip(c.pulls(), pulls, strict=True)
        ),
    )


def _standardized(pair, shifts, scales):
    return tuple((z - shift) * scale for z, shift, scale in zip(pair, shifts, scales, strict=True))


def _shifts_and_scales(pair, epsilon, centered, replicas):
    """Each view's mean and 1 / sqrt(variance + epsilon), and the size of the global batch."""
    images, *totals = replicas.sum([_rows(pair[0]), *(tf.reduce_sum(z, axis=0) for z in pair)])
    rows = pair[0].shape[0]
    message = "The loss correlates dimensions over a batch and needs at least 2 images"
    if replicas.count == 1 and rows is not None:
        if rows < 2:
            raise ValueError(f"{message}, got a batch of {rows}.")
    else:
        tf.debugging.assert_greater(images, tf.ones_like(images), f"{message}, got fewer.")
    shifts = [total / images if centered else tf.zeros_like(total) for total in totals]
    # In a second pass: the mean of squares less the square of the mean would cancel.
    squares = replicas.sum(
        [tf.reduce_sum(tf.square(z - shift), axis=0) for z, shift in zip(pair, shifts, strict=True)]
    )
    epsilon = max(epsilon, LEAST_EPSILON) * SCALE**2
    return shifts, [tf.math.rsqrt(square / images + epsilon) for square in squares], images


def loss_floor(batch_size, dim, redundancy_weight, *, centered=True):
    """The least value the loss can reach, whatever the embeddings.

        r = batch_size - 1                    the rank c can have at most
        k = redundancy_weight * (dim / r - 1)
        floor = dim * k / (1 + k)  if dim > r  else 0

    c is a sum of `batch_size` outer products, so with more dimensions than images it
    cannot be the identity. At the floor every c_ii is 1 / (1 + k).

    Args:
        batch_size: Global batch size, at least 2.
        dim: Width of the embedding.
        redundancy_weight: The paper's lambda, in [0, 1).
        centered: False for the uncentered loss, whose rank can be `batch_size`.

    Returns:
        Python float.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> round(loss_floor(2048, 8192, 0.0051), 1)
        123.5
        >>> loss_floor(256, 128, 0.0051)
        0.0
    """
    if batch_size < 2:
        raise ValueError(f"batch_size must be at least 2, got {batch_size}.")
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}.")
    if not 0.0 <= redundancy_weight < 1.0:
        raise ValueError(f"redundancy_weight must lie in [0, 1), got {redundancy_weight}.")
    rank = batch_size - 1 if centered else batch_size
    k = redundancy_weight * max(dim / rank - 1.0, 0.0)
    return dim * k / (1.0 + k)


def _rows(z):
    return tf.cast(tf.shape(z)[0], z.dtype)


def _scaled(z):
    z = tf.convert_to_tensor(z)
    return SCALE * (z if z.dtype == tf.float64 else tf.cast(z, tf.float32))


def _check_rank(z):
    if z.shape.rank != 2 or z.shape[1] is None:
        raise ValueError(f"Embeddings must have shape [batch, dim], got {z.shape}.")


def _check_pair(z_a, z_b):
    if not z_a.shape.is_compatible_with(z_b.shape):
        raise ValueError(
            "The embeddings of the two views must have one shape [batch, dim], "
            f"got {z_a.shape} and {z_b.shape}."
        )
    _check_rank(z_a)
    if None in z_a.shape[:1] + z_b.shape[:1]:
        # Statically unknown, so met at run time; a smaller batch would broadcast in silence.
        tf.debugging.assert_equal(tf.shape(z_a), tf.shape(z_b), "The views have other shapes.")
