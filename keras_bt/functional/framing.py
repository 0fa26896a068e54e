"""Framings: how an image of any shape becomes a square of one size."""

from collections.abc import Callable

import tensorflow as tf

FRAMINGS = ("whole", "square", "pad", "stretch")
PADDING = 128  # of 255: gray, which normalization by the mean of photographs takes to about 0
IN_WORDS = {
    "whole": "the central square is resized",
    "square": "the central square is resized",
    "pad": "the whole image, with gray bars beside it, is resized",
    "stretch": "each side of the whole image is resized",
}


def check_framing(framing: str) -> str:
    """Returns a framing if it is one of `FRAMINGS`.

    Raises:
        ValueError: If it is not.

    Example:
        >>> check_framing("round")
        Traceback (most recent call last):
            ...
        ValueError: framing must be one of ('whole', 'square', 'pad', 'stretch'), got 'round'.
    """
    if framing not in FRAMINGS:
        raise ValueError(f"framing must be one of {FRAMINGS}, got {framing!r}.")
    return framing


def frame(image: tf.Tensor, size: int, framing: str) -> tf.Tensor:
    """Fits an image to a square, as evaluations, exports and features of a framing do.

        whole, square    `fit_square`: the central square, as published
        pad              `letterbox`: all of the image, with bars
        stretch          `stretch`: all of the image, its sides in another proportion

    Args:
        image: uint8 or float tensor [height, width, 3].
        size: Side of the result, in pixels.
        framing: One of `FRAMINGS`.

    Returns:
        Tensor [size, size, 3] of the same dtype. An image of this size stays unchanged.

    Raises:
        ValueError: If the framing is unknown.

    Example:
        >>> wide = tf.constant([[[0, 0, 0]] * 4] * 2, tf.uint8)
        >>> frame(wide, 4, "pad")[:, 0, 0].numpy()
        array([128,   0,   0, 128], dtype=uint8)
    """
    check_framing(framing)
    fit = {"pad": letterbox, "stretch": stretch}.get(framing, fit_square)
    return fit(image, size)


def fit_square(image: tf.Tensor, size: int) -> tf.Tensor:
    """Resizes the central square of an image to `size` pixels (bicubic, antialiased).

    Args:
        image: uint8 or float tensor [height, width, 3].
        size: Side of the result, in pixels.

    Returns:
        Tensor [size, size, 3] of the same dtype. An image of this size stays unchanged.

    Example:
        >>> fit_square(tf.zeros([5, 9, 3], tf.uint8), 4).shape
        TensorShape([4, 4, 3])
    """

    def central_square() -> tf.Tensor:
        height, width = tf.shape(image)[0], tf.shape(image)[1]
        side = tf.minimum(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return _resize(image[top : top + side, left : left + side], (size, size))

    return _unless_fitting(image, size, central_square)


def letterbox(image: tf.Tensor, size: int) -> tf.Tensor:
    """Resizes the longer side of an image to `size` pixels and pads the other with gray.

        shorter side = round(size * shorter / longer), at least 1, in the middle

    Args:
        image: uint8 or float tensor [height, width, 3].
        size: Side of the result, in pixels.

    Returns:
        Tensor [size, size, 3] of the same dtype. An image of this size stays unchanged.

    Example:
        >>> letterbox(tf.ones([9, 3, 3]), 3)[0, :, 0].numpy().round(3)
        array([0.502, 1.   , 0.502], dtype=float32)
    """

    def padded() -> tf.Tensor:
        sides = tf.shape(image)[:2]
        scale = size / tf.reduce_max(sides)  # float64
        sides = tf.cast(tf.round(tf.cast(sides, tf.float64) * scale), tf.int32)
        sides = tf.clip_by_value(sides, 1, size)
        before = (size - sides) // 2
        bars = tf.stack([before, size - sides - before], axis=1)
        gray = PADDING if image.dtype == tf.uint8 else PADDING / 255.0
        bars = tf.concat([bars, [[0, 0]]], axis=0)
        return tf.pad(_resize(image, sides), bars, constant_values=tf.cast(gray, image.dtype))

    return _unless_fitting(image, size, padded)


def stretch(image: tf.Tensor, size: int) -> tf.Tensor:
    """Resizes both sides of an image to `size` pixels, each by a scale of its own.

    Args:
        image: uint8 or float tensor [height, width, 3].
        size: Side of the result, in pixels.

    Returns:
        Tensor [size, size, 3] of the same dtype. An image of this size stays unchanged.

    Example:
        >>> stretch(tf.zeros([5, 9, 3], tf.uint8), 4).shape
        TensorShape([4, 4, 3])
    """
    return _unless_fitting(image, size, lambda: _resize(image, (size, size)))


def _resize(image: tf.Tensor, sides: tuple[int, int] | tf.Tensor) -> tf.Tensor:
    """Resizes an image (bicubic, antialiased), with pixels in range and of the same dtype."""
    is_uint8 = image.dtype == tf.uint8
    resized = tf.image.resize(tf.cast(image, tf.float32), sides, "bicubic", antialias=True)
    resized = tf.clip_by_value(resized, 0.0, 255.0 if is_uint8 else 1.0)
    return tf.cast(tf.round(resized) if is_uint8 else resized, image.dtype)


def _unless_fitting(image: tf.Tensor, size: int, fit: Callable[[], tf.Tensor]) -> tf.Tensor:
    """The image itself if it has the size already, otherwise the result of `fit`."""
    if image.shape.is_fully_defined():
        return image if image.shape[:2] == (size, size) else fit()
    fits = tf.reduce_all(tf.equal(tf.shape(image)[:2], size))
    return tf.ensure_shape(tf.cond(fits, lambda: image, fit), (size, size, 3))
