"""`FirstStep`: finds views and encoders that train to nothing, by the first step of a training."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bt.distribution.collectives import COPY_ON_EACH_REPLICA

log = logging.getLogger("keras_bt")

LOWEST, HIGHEST = -0.5, 1.5  # room for the noise and the overshoot of a view
MOST_OUTSIDE = 0.01  # share of the pixels
EQUAL = 1e-6
LEAST_SPREAD = 0.02  # of the values that reach the first weights; images have 0.29
UNKNOWN_SIDE = 32  # pixels, if the encoder takes views of any size


class FirstStep:
    """Measures the views of the first step, and reports once what is wrong with them.

    The measurement is in the step itself, where views of any kind are computed once. Later steps
    only ask whether it is done. Made in a strategy's scope, it has a copy on every replica.

    Example:
        >>> first = FirstStep()
        >>> images = tf.random.stateless_uniform([2, 8, 8, 3], [0, 1])
        >>> first.measure(255 * images, images)
        >>> first.report(keras.layers.Flatten())
        Traceback (most recent call last):
            ...
        ValueError: Views must return images in [0, 1], got values in [...] in the first batch; ...
    """

    def __init__(self) -> None:
        self._strategy = tf.distribute.get_strategy()
        self._done = tf.Variable(False, **COPY_ON_EACH_REPLICA)
        self._measured = tf.Variable(tf.zeros([5]), **COPY_ON_EACH_REPLICA)
        self._view_shape: tf.TensorShape | None = None

    def measure(self, view_a: tf.Tensor, view_b: tf.Tensor) -> None:
        """Measures the views of this replica, in the first call only."""
        self._view_shape = view_a.shape[1:]

        def measure() -> None:
            self._measured.assign(_measurements(view_a, view_b))
            self._done.assign(True)

        tf.cond(self._done, lambda: None, measure)

    def reported(self, function: Callable[..., Any], encoder: keras.Layer) -> Callable[..., Any]:
        """A train function that calls `report` after its first call."""
        waiting = [True]

        def train(*args: Any) -> Any:
            outputs = function(*args)
            if waiting:
                waiting.clear()
                self.report(encoder)
            return outputs

        return train

    def report(self, encoder: keras.Layer) -> None:
        """Raises an error for views out of range; warns of equal views and of dark inputs.

        Raises:
            ValueError: If more than 1 % of the pixels of the views lie far outside [0, 1].
        """
        copies = self._strategy.experimental_local_results(self._measured)
        outside, low, high, difference, contrast = np.transpose([copy.numpy() for copy in copies])
        images = self._view_shape is not None and self._view_shape.rank == 3
        if images and outside.max() > MOST_OUTSIDE:
            raise ValueError(
                "Views must return images in [0, 1], got values in "
                f"[{low.min():g}, {high.max():g}] in the first batch; layers of keras-cv "
                "take value_range=(0, 1)."
            )
        if difference.max() < EQUAL < contrast.max():
            log.warning(
                "View A and view B are equal in the first batch, so there is nothing to learn; "
                "give each its own random augmentations.",
            )
        if images:
            spread = input_spread(encoder, self._view_shape)
            if spread is not None and spread < LEAST_SPREAD:
                log.warning(
                    "The encoder scales images in [0, 1] down again: its first weights get values "
                    "with a deviation of %.2g. Leave out its own preprocessing "
                    "(include_preprocessing=False), or put keras.layers.Rescaling(255) before it.",
                    spread,
                )


def input_spread(encoder: keras.Layer, image_shape: tf.TensorShape) -> float | None:
    """The deviation of the channels that reach an encoder's first weights, for noise in [0, 1].

    Args:
        encoder: Model or layer, in inference mode.
        image_shape: (height, width, channels); None is any size.

    Returns:
        The deviation, or None if no layer with a kernel is found.

    Example:
        >>> layers = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3)]
        >>> round(input_spread(keras.Sequential(layers), tf.TensorShape([8, 8, 3])), 4)
        0.0011
    """
    noise = tf.random.stateless_uniform(
        [2, *(side or UNKNOWN_SIDE for side in image_shape)], [0, 1]
    )
    with _first_inputs() as inputs, contextlib.suppress(Exception):
        encoder(noise, training=False)  # ends at the first weights
    if not inputs:
        return None
    values = tf.cast(inputs[0], tf.float32)
    # Of each channel: a normalization subtracts another mean from each.
    return float(
        tf.reduce_mean(tf.math.reduce_std(values, axis=list(range(values.shape.rank - 1))))
    )


def _measurements(view_a: tf.Tensor, view_b: tf.Tensor) -> tf.Tensor:
    """Share outside the range, lowest, highest, largest difference of the views, contrast of A."""
    views = [tf.cast(view, tf.float32) for view in (view_a, view_b)]
    outside = [tf.cast((view < LOWEST) | (view > HIGHEST), tf.float32) for view in views]
    lows, highs = ([reduce(view) for view in views] for reduce in (tf.reduce_min, tf.reduce_max))
    same_shape = view_a.shape[1:] == view_b.shape[1:]
    difference = tf.reduce_max(tf.abs(views[0] - views[1])) if same_shape else tf.constant(np.inf)
    return tf.stack(
        [
            tf.maximum(*map(tf.reduce_mean, outside)),
            tf.minimum(*lows),
            tf.maximum(*highs),
            difference,
            highs[0] - lows[0],
        ]
    )


@contextlib.contextmanager
def _first_inputs() -> Iterator[list[tf.Tensor]]:
    """Collects the input of the first layer with a kernel, and ends the encoder's call there."""
    inputs: list[tf.Tensor] = []
    call = keras.Layer.__call__

    def checked_call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        if hasattr(layer, "kernel") and args and not tf.is_symbolic_tensor(args[0]):
            inputs.append(args[0])
            raise StopIteration
        return call(layer, *args, **kwargs)

    keras.Layer.__call__ = checked_call
    try:
        yield inputs
    finally:
        keras.Layer.__call__ = call
