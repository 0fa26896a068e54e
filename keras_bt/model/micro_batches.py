"""The gradient of a whole batch on the memory of a part: each part passes the networks twice."""

import tensorflow as tf

from keras_bt._support.variables import restored
from keras_bt.distribution.collectives import loop


def gradients_by_micro_batches(embed, loss, batch, count, specs, variables, state=()):
    """Gradient of a loss of a whole batch, of which `embed` sees a micro-batch at a time.

        z_i = embed(batch_i)                                 of which nothing is kept but z
        g_i = d loss(z_1, ..., z_count) / d z_i              of the whole batch
        d loss / d w = sum over i of  g_i d embed(batch_i) / d w

    where embed(batch_i) is computed anew in the third line, with the same random numbers.

    Args:
        embed: Function from the tensors of a micro-batch to a tuple of tensors.
        loss: Function from such a tuple, each tensor stacked [count, ...] over micro-batches,
            to a scalar and anything else.
        batch: Tensors [batch, ...]. Micro-batch i has their rows i, count + i, ..., which are
            the same images however many replicas share the batch out.
        count: Int. How many micro-batches.
        specs: See `outputs_by_micro_batches`.
        variables: List of the w.
        state: Variables that `embed` changes: statistics, seeds. It does so once a micro-batch,
            as far as they can tell.

    Returns:
        What else `loss` returned, and the gradients, a list of tensors; None for variables
        that have no part in it.

    Raises:
        ValueError: See `check_micro_batches`.

    Example:
        >>> w, x = tf.Variable(3.0), tf.constant([1.0, 2.0, 3.0, 4.0])
        >>> def loss(z):
        ...     return tf.reduce_sum(z) ** 2, "a square"
        >>> spec = tf.TensorSpec([None])
        >>> told, gradients = gradients_by_micro_batches(
        ...     lambda x: (w * x,), loss, [x], count=2, specs=[spec], variables=[w]
        ... )
        >>> told, [float(gradient) for gradient in gradients]
        ('a square', [600.0])

    Source: Gao et al., arXiv 2101.06983, section 3.2: the gradient cache.
    """
    check_micro_batches(batch[0].shape[0], count)
    with restored(state):
        z = outputs_by_micro_batches(embed, batch, count, specs)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value, told = loss(*z)
    of_z = tape.gradient(value, z)
    parts = _parts(batch, count)
    connected = [False] * len(variables)  # found out when a micro-batch is traced

    def add_one(index, *sums):
        with tf.GradientTape() as tape:
            z_i = embed(*_part(parts, index))
        gradients = tape.gradient(z_i, variables, [tf.gather(each, index) for each in of_z])
        connected[:] = [gradient is not None for gradient in gradients]
        return tuple(
            total if gradient is None else total + gradient
            for total, gradient in zip(sums, gradients, strict=True)
        )

    zeros = tuple(tf.zeros(variable.shape, variable.dtype) for variable in variables)
    sums = loop(count, add_one, zeros)
    return told, [total if c else None for total, c in zip(sums, connected, strict=True)]


def outputs_by_micro_batches(function, batch, count, specs):
    """What a function makes of each micro-batch, one after another.

    Args:
        function: From the tensors of a micro-batch to a tuple of tensors.
        batch: Tensors [batch, ...], the batch a multiple of `count`.
        count: Int. How many micro-batches.
        specs: `tf.TensorSpec`s of what it returns, with None for the images of a micro-batch.

    Returns:
        Tuple of tensors [count, ...]: its outputs, stacked.

    Example:
        >>> spec = tf.TensorSpec([None])
        >>> outputs_by_micro_batches(lambda x: (2 * x,), [tf.range(4.0)], 2, [spec])[0].numpy()
        array([[0., 4.],
               [2., 6.]], dtype=float32)
    """
    parts = _parts(batch, count)
    rows = tf.shape(parts[0])[0] if parts[0].shape[0] is None else parts[0].shape[0]

    def write_one(index, *written):
        outputs = function(*_part(parts, index))
        return tuple(
            tf.tensor_scatter_nd_update(before, [[index]], output[None])
            for before, output in zip(written, outputs, strict=True)
        )

    shapes = ([count, *(rows if size is None else size for size in spec.shape)] for spec in specs)
    blank = tuple(tf.zeros(shape, spec.dtype) for shape, spec in zip(shapes, specs, strict=True))
    return loop(count, write_one, blank)


def check_micro_batches(images, count):
    """Refuses a batch that cannot be cut into micro-batches.

    Args:
        images: Int: those of a replica's batch. None if unknown.
        count: Int. How many micro-batches.

    Raises:
        ValueError: If they would be of several sizes or of a single image.

    Example:
        >>> check_micro_batches(12, count=8)
        Traceback (most recent call last):
            ...
        ValueError: The batch of a replica must be a multiple of micro_batches=8, got 12 images.
    """
    if images is None or count == 1:
        return
    if images % count:
        raise ValueError(
            f"The batch of a replica must be a multiple of micro_batches={count}, got {images} "
            "images."
        )
    if images // count < 2:
        raise ValueError(
            "A micro-batch must have at least 2 images, for batch norm sees no others; got "
            f"{images} images a replica and micro_batches={count}."
        )


def _parts(tensors, count):
    """[batch, ...] as [batch / count, count, ...]."""
    rows = tensors[0].shape[0]
    message = f"The batch of a replica must be a multiple of micro_batches={count}."
    divides = tf.debugging.assert_equal(tf.shape(tensors[0])[0] % count, 0, message)
    with tf.control_dependencies([divides] if rows is None else []):
        return [_cut(tensor, count) for tensor in tensors]


def _cut(tensor, count):
    parts = tf.reshape(tensor, tf.concat([[-1, count], tf.shape(tensor)[1:]], axis=0))
    rows = tensor.shape[0]
    return tf.ensure_shape(parts, [rows and rows // count, count, *tensor.shape[1:]])


def _part(parts, index):
    return [tf.gather(tensor, index, axis=1) for tensor in parts]
