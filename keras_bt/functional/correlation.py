"""The Barlow Twins loss as pure functions of two embedding tensors.

Everything here is float32 or wider, knows nothing of Keras and keeps no state.
"""

import tensorflow as tf

FORMS = ("auto", "matrix", "gram")


def standardize(z, *, epsilon=1e-5, centered=True):
    """Gives every embedding dimension mean 0 and variance 1 over the batch.

        z_hat = (z - mean(z)) / sqrt(var(z) + epsilon)        over the batch axis

    Args:
        z: Float tensor [batch, dim]. Embeddings.
        epsilon: Added to the (biased) variance; keeps a constant dimension finite.
        centered: If false the mean is left in: z / sqrt(mean(z^2) + epsilon).

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
    z = _at_least_float32(z)
    _check_embedding(z)
    if centered:
        z -= tf.reduce_mean(z, axis=0)
    return z * tf.math.rsqrt(tf.reduce_mean(tf.square(z), axis=0) + epsilon)


def cross_correlation(z_a, z_b):
    """Correlation of every dimension of view A with every dimension of view B.

        c[i, j] = mean over the batch of  z_a[b, i] * z_b[b, j]

    Args:
        z_a: Float tensor [batch, dim]. Standardized embeddings of view A.
        z_b: Float tensor [batch, dim]. The same images in the same order, view B.

    Returns:
        Tensor [dim, dim], entries in [-1, 1] up to rounding.

    Example:
        >>> z = tf.constant([[1.0, -1.0], [-1.0, 1.0]])
        >>> cross_correlation(z, z).numpy()
        array([[ 1., -1.],
               [-1.,  1.]], dtype=float32)

    Source: arXiv 2103.03230, equation 2.
    """
    return tf.matmul(z_a, z_b, transpose_a=True) / _batch_size(z_a)


@tf.custom_gradient
def squared_norm_of_product(z_a, z_b):
    """Squared Frobenius norm of a product of embeddings, nothing [dim, dim] built.

        ||z_a^T z_b||_F^2 = <z_a z_a^T, z_b z_b^T>_F
        d/dz_a = 2 (z_b z_b^T) z_a            d/dz_b = 2 (z_a z_a^T) z_b

    Args:
        z_a: Float tensor [batch, dim].
        z_b: Float tensor [batch, dim].

    Returns:
        Scalar tensor.

    Example:
        >>> float(squared_norm_of_product(tf.ones([2, 3]), tf.ones([2, 3])))
        36.0
    """
    gram_a = tf.matmul(z_a, z_a, transpose_b=True)
    gram_b = tf.matmul(z_b, z_b, transpose_b=True)

    def gradient(upstream):
        # Written out because automatic differentiation, blind to the symmetry of the
        # Gram matrices, multiplies twice as often.
        return 2.0 * upstream * (gram_b @ z_a), 2.0 * upstream * (gram_a @ z_b)

    return tf.reduce_sum(gram_a * gram_b), gradient


def invariance_and_redundancy(z_a, z_b, *, epsilon=1e-5, centered=True, form="auto"):
    """The two terms of the Barlow Twins loss.

        invariance = sum_i (1 - c_ii)^2        redundancy = sum_{i != j} c_ij^2

    Args:
        z_a: Float tensor [batch, dim]. Embeddings of view A.
        z_b: Float tensor [batch, dim]. Embeddings of view B, same images, same order.
        epsilon: See `standardize`.
        centered: See `standardize`.
        form: "matrix" builds c [dim, dim]; "gram" uses the [batch, batch] Gram matrices
            and builds nothing [dim, dim]; "auto" takes the one with fewer
            multiplications. Value and gradient are the same.

    Returns:
        Two scalar tensors: invariance and (unweighted) redundancy.

    Raises:
        ValueError: If the shapes differ, are not of rank 2, or hold one embedding only.

    Example:
        >>> z = tf.constant([[1.0, 1.0], [-1.0, -1.0]])
        >>> [round(float(term), 3) for term in invariance_and_redundancy(z, z)]
        [0.0, 2.0]

    Source: arXiv 2103.03230, equation 1; facebookresearch/barlowtwins main.py@8e8d284.
    Differs from source: float32 under any precision; divides by the batch at hand, the
        source by the nominal batch even when the last one is short.
    """
    z_a, z_b = _at_least_float32(z_a), _at_least_float32(z_b)
    if not z_a.shape.is_compatible_with(z_b.shape):
        raise ValueError(
            "The embeddings of the two views must have one shape [batch, dim], "
            f"got {z_a.shape} and {z_b.shape}."
        )
    if None in z_a.shape[:1] + z_b.shape[:1]:
        # Statically unknown, so met at run time; a smaller batch would broadcast in silence.
        tf.debugging.assert_equal(tf.shape(z_a), tf.shape(z_b), "The views have other shapes.")
    z_a = standardize(z_a, epsilon=epsilon, centered=centered)
    z_b = standardize(z_b, epsilon=epsilon, centered=centered)

    diagonal = tf.reduce_mean(z_a * z_b, axis=0)
    invariance = tf.reduce_sum(tf.square(1.0 - diagonal))
    redundancy = _squared_norm_of_c(z_a, z_b, form) - tf.reduce_sum(tf.square(diagonal))
    return invariance, redundancy


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


def _squared_norm_of_c(z_a, z_b, form):
    def matrix():
        return tf.reduce_sum(tf.square(cross_correlation(z_a, z_b)))

    def gram():
        return squared_norm_of_product(z_a, z_b) / tf.square(_batch_size(z_a))

    if form == "matrix":
        return matrix()
    if form == "gram":
        return gram()
    if form != "auto":
        raise ValueError(f"form must be one of {FORMS}, got {form!r}.")
    batch, dim = z_a.shape
    if batch is None:
        return tf.cond(_gram_is_cheaper(tf.shape(z_a)[0], dim), gram, matrix)
    return gram() if _gram_is_cheaper(batch, dim) else matrix()


def _gram_is_cheaper(batch, dim):
    # Multiplications forward and backward: gram 4 batch^2 dim, matrix 3 batch dim^2.
    return 4 * batch < 3 * dim


def _batch_size(z):
    return tf.cast(tf.shape(z)[0], z.dtype)


def _at_least_float32(z):
    z = tf.convert_to_tensor(z)
    return z if z.dtype == tf.float64 else tf.cast(z, tf.float32)


def _check_embedding(z):
    if z.shape.rank != 2:
        raise ValueError(f"Embeddings must have shape [batch, dim], got {z.shape}.")
    message = "The loss correlates dimensions over a batch and needs at least 2 images"
    if z.shape[0] is None:
        tf.debugging.assert_greater(tf.shape(z)[0], 1, f"{message}, got a batch of fewer.")
    elif z.shape[0] < 2:
        raise ValueError(f"{message}, got a batch of {z.shape[0]}.")
