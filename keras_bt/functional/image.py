"""The pixel convention: uint8 in 0...255, or floating point in [0, 1]."""

import tensorflow as tf


def as_unit_range(images: tf.Tensor) -> tf.Tensor:
    """Converts images to float32 in [0, 1], the pixel convention of keras_bt.

    Args:
        images: uint8 tensor in 0...255, or floating point in [0, 1], any shape.

    Returns:
        Float32 tensor of the same shape.

    Raises:
        TypeError: If the dtype is neither uint8 nor floating point.
        ValueError: If floating point values lie far outside [0, 1]. A small overshoot, such
            as from a bicubic resize, is allowed. A graph raises
            `tf.errors.InvalidArgumentError` instead; XLA drops the check.

    Example:
        >>> as_unit_range(tf.constant([0, 51, 255], tf.uint8)).numpy()
        array([0. , 0.2, 1. ], dtype=float32)
    """
    images = tf.convert_to_tensor(images)
    if images.dtype == tf.uint8:
        return tf.cast(images, tf.float32) / 255.0
    if not images.dtype.is_floating:
        raise TypeError(
            "Images must be uint8 in 0...255 or floating point in [0, 1], "
            f"got dtype {images.dtype.name}."
        )
    images = tf.cast(images, tf.float32)
    low, high = tf.reduce_min(images), tf.reduce_max(images)
    in_range = (low >= -0.5) & (high <= 1.5)
    message = "Floating point images must be RGB in [0, 1] (uint8 means 0...255), got values in"
    if tf.executing_eagerly():
        if tf.size(images) and not in_range:
            raise ValueError(f"{message} [{float(low):g}, {float(high):g}].")
        return images
    in_range |= tf.equal(tf.size(images), 0)
    with tf.control_dependencies([tf.debugging.Assert(in_range, [message, low, high])]):
        return tf.identity(images)
