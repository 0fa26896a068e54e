"""Locates the first NaN or infinity in a training step."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_bt._support.variables import restored


def first_nonfinite(model: keras.Model, batch: Any) -> str | None:
    """Repeats a step without replicas, locates its first non-finite number, and undoes the step.

    Args:
        model: Compiled `BarlowTwins`.
        batch: A batch as its `fit` takes it, in parts if there are several replicas.

    Returns:
        The layer or gradient in words, or None if all numbers are finite this time.
    """
    local_results = model.distribute_strategy.experimental_local_results
    leaves = [local_results(leaf) for leaf in tf.nest.flatten(batch)]
    parts = [tf.nest.pack_sequence_as(batch, part) for part in zip(*leaves, strict=True)]
    # All parts: workers sum what they read, so each must repeat the same number of steps.
    found = [_first_nonfinite(model, part) for part in parts]
    return next(filter(None, found), None)


def _first_nonfinite(model: keras.Model, batch: Any) -> str | None:
    """`first_nonfinite` of the batch of one replica."""
    variables = [*model.non_trainable_variables, *model.metrics_variables]
    with restored(variables), _nonfinite_layers() as layers:
        _, gradients = model.terms_and_gradients(*model.two_views(batch))
    if layers:
        return f"in the output of layer {layers[0].path}"
    for variable, gradient in reversed(
        list(zip(model.trainable_variables, gradients, strict=True))
    ):
        if gradient is not None and any_nonfinite([gradient]):
            return f"in the gradient of {variable.path}"
    return None


@contextlib.contextmanager
def _nonfinite_layers() -> Iterator[list[keras.Layer]]:
    """Collects the layers that return non-finite outputs inside the block, in their order."""
    found: list[keras.Layer] = []
    call = keras.Layer.__call__

    def checked_call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        outputs = call(layer, *args, **kwargs)
        tensors = [each for each in tf.nest.flatten(outputs) if tf.is_tensor(each)]
        if not any(map(tf.is_symbolic_tensor, tensors)) and any_nonfinite(tensors):
            found.append(layer)
        return outputs

    keras.Layer.__call__ = checked_call
    try:
        yield found
    finally:
        keras.Layer.__call__ = call


def any_nonfinite(tensors: Sequence[Any]) -> tf.Tensor:
    """Whether any floating point number is NaN or infinite.

    Args:
        tensors: Of any dtypes and shapes; None is skipped.

    Returns:
        Scalar bool tensor.

    Example:
        >>> bool(any_nonfinite([None, [1, 2], [0.0, float("inf")]]))
        True
    """
    present = [tf.convert_to_tensor(tensor) for tensor in tensors if tensor is not None]
    nonfinite = [
        tf.logical_not(tf.reduce_all(tf.math.is_finite(tensor)))
        for tensor in present
        if tensor.dtype.is_floating
    ]
    return tf.reduce_any(nonfinite or [False])
