"""An encoder as a function of images, the same for every format it leaves in."""

import keras
import tensorflow as tf

from keras_bt._support import compat
from keras_bt.functional.image import as_unit_range

PROBE_SIDE = 64  # of images in encoders that take any
TOLERANCE = 1e-4  # of the largest feature, by which another runtime may differ


def input_shape_of(encoder):
    """(None, height, width, channels) of a built encoder; height and width may be None.

    Raises:
        ValueError: If it is not built, or does not take images.

    Example:
        >>> import keras_bt
        >>> input_shape_of(keras_bt.resnet18((None, None, 3), width=1))
        (None, None, None, 3)
    """
    if not encoder.built:
        raise ValueError("The encoder is not built; call it on a batch of images first.")
    input_shape = getattr(encoder, "input_shape", None)
    if input_shape is None:  # a subclassed model knows the shape it was first called with
        input_shape = compat.first_input_shape(encoder)
    if input_shape is None and getattr(encoder, "input_spec", None) is not None:
        input_shape = encoder.input_spec.shape
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 4:
        raise ValueError(
            f"The encoder must take [batch, height, width, channels], got {input_shape}."
        )
    return (None, *input_shape[1:])


def image_size_of(encoder, image_size=None):
    """Side of the square images an encoder is to be given, in pixels.

    Args:
        encoder: `keras.Model` or layer of `load_encoder`.
        image_size: Int, a wish; None for the encoder's own, or the one it was exported with.

    Raises:
        ValueError: If the encoder takes images of another size only, or of any and none is
            wished for.

    Example:
        >>> import keras_bt
        >>> image_size_of(keras_bt.resnet18((None, None, 3), width=1), 32)
        32
    """
    height, width = input_shape_of(encoder)[1:3]
    told = getattr(encoder, "description", {}).get("image_size")
    side = image_size or height or told
    if side is None:
        raise ValueError("The encoder takes images of any size; give image_size.")
    if not {height, width} <= {None, side}:
        raise ValueError(
            f"The encoder takes images of {height} x {width} pixels, image_size is {side}."
        )
    return side


def functional_of(encoder):
    """The encoder as a model of the functional kind, whose layers Keras knows; None if it is none.

    Example:
        >>> import keras_bt
        >>> functional_of(keras_bt.resnet18((8, 8, 3), width=1)).name
        'resnet18'
        >>> functional_of(keras.layers.Flatten()) is None
        True
    """
    if isinstance(encoder, keras.Sequential):
        return compat.functional_of_sequential(encoder)
    return encoder if isinstance(encoder, compat.Functional) else None


def checked(encoder, inputs):
    """Images, refused in a graph too if they are not of the encoder's shape or far from [0, 1]."""
    # Signatures do not enforce static sizes; without this a gray image would broadcast
    # against the three means of the normalization.
    return as_unit_range(tf.ensure_shape(inputs, input_shape_of(encoder)))


def forward(encoder, inputs, training=False):
    """Float32 features of images.

    Raises:
        ValueError: If the encoder does not return [batch, features].
    """
    features = tf.cast(encoder(inputs, training=training), tf.float32)
    if features.shape.rank != 2:
        raise ValueError(f"The encoder must return [batch, features], got {features.shape}.")
    return features


def probe_images(encoder, batch_size=2):
    """Images to compare an exported encoder with the one in memory on: float32 in [0, 1]."""
    sides = [side or PROBE_SIDE for side in input_shape_of(encoder)[1:]]
    return tf.random.stateless_uniform([batch_size, *sides], seed=[0, 1])


def check_same(features, expected, what, tolerance=TOLERANCE):
    """Refuses features that are not those of the encoder in memory.

    Args:
        features: Float array [batch, features].
        expected: Float array [batch, features], of the encoder in memory.
        what: String. What gave `features`.
        tolerance: Float. Largest difference, as a part of the largest feature.

    Raises:
        RuntimeError: If they differ by more, or are not finite.

    Example:
        >>> check_same([[1.0]], [[2.0]], "The SavedModel")
        Traceback (most recent call last):
            ...
        RuntimeError: The SavedModel differs from the encoder in memory by 1 (largest feature 2)...
    """
    difference = float(tf.reduce_max(tf.abs(tf.subtract(features, expected))))
    scale = float(tf.reduce_max(tf.abs(expected)))
    if not difference <= tolerance * scale + 1e-6:  # NaN included
        raise RuntimeError(
            f"{what} differs from the encoder in memory by {difference:g} (largest feature "
            f"{scale:g}); nothing was written."
        )
