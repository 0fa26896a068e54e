"""Micro-batches: the gradient of a whole batch within the memory of a part of it."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_bt._support.variables import restored
from keras_bt.distribution.collectives import loop


def gradients_by_micro_batches(
    function: Callable[..., Sequence[tf.Tensor]],
    loss: Callable[..., tuple[tf.Tensor, Any]],
    batch: Sequence[tf.Tensor],
    count: int,
    specs: Sequence[tf.TensorSpec],
    variables: Sequence[keras.Variable],
    state: Sequence[keras.Variable] = (),
) -> tuple[Any, list[tf.Tensor | None]]:
    """Computes the gradient of a loss of the whole batch, one micro-batch at a time.

        z_i = function(batch_i)                              only the outputs z are kept
        g_i = d loss(z) / d z_i                              z: the outputs of the whole batch
        d loss / d w = sum over i of  g_i d function(batch_i) / d w

    The third line computes function(batch_i) again, with the same random numbers.

    Args:
        function: From the tensors of a micro-batch to several outputs; see `specs`.
        loss: From the outputs of the whole batch to a scalar, and anything else.
        batch: Tensors [batch, ...]. Micro-batch i has their rows i, count + i, ..., which are
            the same images whatever the number of replicas.
        count: Number of micro-batches.
        specs: See `outputs_by_micro_batches`.
        variables: The w.
        state: Variables that `function` changes, such as statistics and seeds. They change once
            for each micro-batch.

    Returns:
        What `loss` returns beside the scalar, and the gradients. A gradient is None if the loss
        does not depend on the variable.

    Raises:
        ValueError: See `check_micro_batches`.

    Example:
        >>> w, x = tf.Variable(3.0), tf.constant([1.0, 2.0, 3.0, 4.0])
        >>> def loss(z):
        ...     return tf.reduce_sum(z) ** 2, z.shape
        >>> shape, gradients = gradients_by_micro_batches(
        ...     lambda x: [w * x], loss, [x], count=2, specs=[tf.TensorSpec([None])], variables=[w]
        ... )
        >>> shape, [float(gradient) for gradient in gradients]
        (TensorShape([4]), [600.0])

    Source: Gao et al., arXiv 2101.06983, section 3.2: the gradient cache.
    """
    check_micro_batches(batch[0].shape[0], count)
    with restored(state):
        stacked = _stacked_outputs(function, batch, count, specs)
    with tf.GradientTape() as tape:
        tape.watch(stacked)
        value, extra = loss(*map(_merge, stacked))
    output_gradients = tape.gradient(value, stacked)
    parts = _split(batch, count)
    connected = [False] * len(variables)  # known once a micro-batch is traced

    def add_gradients(index: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            outputs = function(*_take(parts, index))
        upstream = [tf.gather(gradient, index) for gradient in output_gradients]
        gradients = tape.gradient(outputs, variables, upstream)
        connected[:] = [gradient is not None for gradient in gradients]
        return tuple(
            total if gradient is None else total + gradient
            for total, gradient in zip(sums, gradients, strict=True)
        )

    zeros = tuple(tf.zeros(variable.shape, variable.dtype) for variable in variables)
    sums = loop(count, add_gradients, zeros)
    return extra, [total if used else None for total, used in zip(sums, connected, strict=True)]


def outputs_by_micro_batches(
    function: Callable[..., Sequence[tf.Tensor]],
    batch: Sequence[tf.Tensor],
    count: int,
    specs: Sequence[tf.TensorSpec],
) -> list[tf.Tensor]:
    """Computes the outputs of a function for a batch of any size, one micro-batch at a time.

    Rows of zeros fill the last micro-batch. Their outputs are dropped, so an output row must not
    depend on other rows.

    Args:
        function: From the tensors of a micro-batch to several outputs.
        batch: Tensors [batch, ...].
        count: Number of micro-batches.
        specs: One `tf.TensorSpec` for each output. [None, ...] has a row for each row of the
            micro-batch. A scalar becomes the mean over micro-batches.

    Returns:
        The outputs of the whole batch, in its order.

    Example:
        >>> spec = tf.TensorSpec([None])
        >>> outputs_by_micro_batches(lambda x: [2 * x], [tf.range(3.0)], 2, [spec])[0].numpy()
        array([0., 2., 4.], dtype=float32)
    """
    rows = batch[0].shape[0] or tf.shape(batch[0])[0]
    missing = [0, -rows % count]
    padded = [tf.pad(each, [missing, *([0, 0] for _ in each.shape[1:])]) for each in batch]
    outputs = map(_merge, _stacked_outputs(function, padded, count, specs))
    return [output[:rows] if output.shape.rank else output for output in outputs]


def check_micro_batches(rows: int | None, count: int) -> None:
    """Raises an error if a replica's batch cannot be split into micro-batches.

    Args:
        rows: Images in the batch of one replica. None if unknown.
        count: Number of micro-batches.

    Raises:
        ValueError: If micro-batches would differ in size or hold a single image.

    Example:
        >>> check_micro_batches(12, count=8)
        Traceback (most recent call last):
            ...
        ValueError: The batch of a replica must be a multiple of micro_batches=8, got 12 images.
    """
    if rows is None or count == 1:
        return
    if rows % count:
        raise ValueError(
            f"The batch of a replica must be a multiple of micro_batches={count}, got {rows} "
            "images."
        )
    if rows // count < 2:
        raise ValueError(
            "A micro-batch must have at least 2 images for batch normalization; got "
            f"{rows} images per replica and micro_batches={count}."
        )


def _stacked_outputs(
    function: Callable[..., Sequence[tf.Tensor]],
    batch: Sequence[tf.Tensor],
    count: int,
    specs: Sequence[tf.TensorSpec],
) -> tuple[tf.Tensor, ...]:
    """The outputs of all micro-batches, each stacked to [count, ...]."""
    parts = _split(batch, count)
    rows = tf.shape(parts[0])[0] if parts[0].shape[0] is None else parts[0].shape[0]

    def write_outputs(index: tf.Tensor, *written: tf.Tensor) -> tuple[tf.Tensor, ...]:
        outputs = function(*_take(parts, index))
        return tuple(
            tf.tensor_scatter_nd_update(earlier, [[index]], output[None])
            for earlier, output in zip(written, outputs, strict=True)
        )

    shapes = ([count, *(rows if size is None else size for size in spec.shape)] for spec in specs)
    zeros = tuple(tf.zeros(shape, spec.dtype) for shape, spec in zip(shapes, specs, strict=True))
    return loop(count, write_outputs, zeros)


def _merge(stacked: tf.Tensor) -> tf.Tensor:
    """[count, rows, ...] as [batch, ...] in the batch's order; scalars [count] as their mean."""
    if stacked.shape.rank == 1:
        return tf.reduce_mean(stacked)
    by_row = tf.transpose(stacked, [1, 0, *range(2, stacked.shape.rank)])
    return tf.reshape(by_row, [-1, *stacked.shape[2:]])


def _split(tensors: Sequence[tf.Tensor], count: int) -> list[tf.Tensor]:
    """[batch, ...] as [batch / count, count, ...]."""
    rows = tensors[0].shape[0]
    message = f"The batch of a replica must be a multiple of micro_batches={count}."
    divides = tf.debugging.assert_equal(tf.shape(tensors[0])[0] % count, 0, message)
    with tf.control_dependencies([divides] if rows is None else []):
        return [_split_one(tensor, count) for tensor in tensors]


def _split_one(tensor: tf.Tensor, count: int) -> tf.Tensor:
    """[batch, ...] as [batch / count, count, ...], with its static shape."""
    parts = tf.reshape(tensor, tf.concat([[-1, count], tf.shape(tensor)[1:]], axis=0))
    rows = tensor.shape[0]
    return tf.ensure_shape(parts, [rows and rows // count, count, *tensor.shape[1:]])


def _take(parts: Sequence[tf.Tensor], index: tf.Tensor) -> list[tf.Tensor]:
    """The tensors of one micro-batch."""
    return [tf.gather(tensor, index, axis=1) for tensor in parts]
