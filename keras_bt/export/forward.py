"""The encoder as a function of images, shared by all export formats."""

from typing import Any

import keras
import numpy.typing as npt
import tensorflow as tf

from keras_bt._support import compat
from keras_bt.functional.image import as_unit_range
from keras_bt.model.checks import check_encoder, check_features

PROBE_SIDE = 64  # pixels, if the encoder takes images of any size
TOLERANCE = 1e-4  # of the largest feature


def input_shape_of(encoder: keras.Layer) -> tuple[int | None, ...]:
    """Returns (None, height, width, channels) of a built encoder.

    Args:
        encoder: Model or layer from images to features.

    Returns:
        Height and width are None if the encoder takes any size.

    Raises:
        ValueError: If the encoder is not built, or does not take images.

    Example:
        >>> import keras_bt
        >>> input_shape_of(keras_bt.resnet18((None, None, 3), width=1))
        (None, None, None, 3)
    """
    if not encoder.built:
        raise ValueError("The encoder is not built; call it on a batch of images first.")
    check_encoder(encoder)
    input_shape = getattr(encoder, "input_shape", None)
    if input_shape is None:  # of a subclassed model, which stores the shape of its first call
        input_shape = compat.first_input_shape(encoder)
    if input_shape is None and getattr(encoder, "input_spec", None) is not None:
        input_shape = encoder.input_spec.shape
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 4:
        raise ValueError(
            f"The encoder must take [batch, height, width, channels], got {input_shape}."
        )
    return (None, *input_shape[1:])


def image_size_of(encoder: keras.Layer, image_size: int | None = None) -> int:
    """Returns the height and width of the square images to give an encoder, in pixels.

    Args:
        encoder: Model, or layer from `load_encoder`.
        image_size: The size that the user wants; None for the encoder's own, or the one of its
            export.

    Returns:
        `image_size` if it is given.

    Raises:
        ValueError: If the encoder takes only images of another size, or takes any size and none
            is given.

    Example:
        >>> import keras_bt
        >>> image_size_of(keras_bt.resnet18((None, None, 3), width=1), 32)
        32
    """
    height, width = input_shape_of(encoder)[1:3]
    exported_size = getattr(encoder, "description", {}).get("image_size")
    side = image_size or height or exported_size
    if side is None:
        raise ValueError("The encoder takes images of any size; give image_size.")
    if not {height, width} <= {None, side}:
        raise ValueError(
            f"The encoder takes images of {height} x {width} pixels, but image_size is {side}."
        )
    return side


def framing_of(encoder: Any) -> str:
    """How an encoder's images become squares: as its export says, otherwise "square".

    Args:
        encoder: Model, layer or function from images to features.

    Example:
        >>> framing_of(keras.layers.Flatten())
        'square'
    """
    return getattr(encoder, "description", {}).get("framing", "square")


def functional_of(encoder: keras.Layer) -> compat.Functional | None:
    """Returns the encoder as a functional model, or None for other kinds of models and layers.

    Args:
        encoder: A `keras.Sequential` has a functional model inside.

    Returns:
        A model with a graph of layers.

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


def checked_images(encoder: keras.Layer, inputs: tf.Tensor) -> tf.Tensor:
    """Returns images after checks of shape and value range, which also work in a graph.

    Args:
        encoder: Model or layer from images to features.
        inputs: uint8 or floating point [batch, height, width, channels].

    Returns:
        Float tensor in [0, 1].

    Raises:
        tf.errors.InvalidArgumentError: In a graph, if the shape or the range is wrong.
        ValueError: If a wrong shape is known earlier.
    """
    # Signatures do not enforce static sizes. Without this check a gray image would broadcast
    # against the three means of the normalization.
    return as_unit_range(tf.ensure_shape(inputs, input_shape_of(encoder)))


def forward(encoder: keras.Layer, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
    """Computes float32 features of images.

    Args:
        encoder: Model or layer from images to features.
        inputs: Float [batch, height, width, channels] in [0, 1].
        training: Whether batch statistics are used and updated.

    Returns:
        Float32 tensor [batch, features].

    Raises:
        ValueError: If the encoder does not return [batch, features].
    """
    features = encoder(inputs, training=training)
    check_features(features)
    return tf.cast(features, tf.float32)


def probe_images(encoder: keras.Layer, batch_size: int = 2) -> tf.Tensor:
    """Returns random images for comparing an exported encoder with the one in memory.

    Args:
        encoder: Model or layer from images to features.
        batch_size: Number of images.

    Returns:
        Float32 tensor [batch, height, width, channels] in [0, 1], the same in every call.
    """
    sides = [side or PROBE_SIDE for side in input_shape_of(encoder)[1:]]
    return tf.random.stateless_uniform([batch_size, *sides], seed=[0, 1])


def check_same(
    features: npt.ArrayLike, expected: npt.ArrayLike, name: str, tolerance: float = TOLERANCE
) -> None:
    """Raises if features differ from those of the encoder in memory.

    Args:
        features: Float array [batch, features].
        expected: Float array [batch, features] of the encoder in memory.
        name: Name of the exported encoder in the message.
        tolerance: Largest allowed difference, relative to the largest feature.

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
    if not difference <= tolerance * scale + 1e-6:  # also true for NaN
        raise RuntimeError(
            f"{name} differs from the encoder in memory by {difference:g} (largest feature "
            f"{scale:g}); nothing was written."
        )
