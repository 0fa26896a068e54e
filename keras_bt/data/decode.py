"""Decodes images and fits them to squares of one size."""

import tensorflow as tf


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG, PNG, BMP or GIF (first frame) to uint8 RGB [height, width, 3]."""
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: decode_jpeg_or_png(encoded),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, (None, None, 3))


def decode_jpeg_or_png(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG or PNG to uint8 RGB, with the same pixels as other software."""
    # TensorFlow's default method differs by up to 6 of 255.
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def image_and_label(image: tf.Tensor, label: tf.Tensor | None) -> dict[str, tf.Tensor]:
    """An example as `Images.decode` returns it, without "label" if `label` is None."""
    return {"image": image} if label is None else {"image": image, "label": label}


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

    def resize() -> tf.Tensor:
        height, width = tf.shape(image)[0], tf.shape(image)[1]
        side = tf.minimum(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = tf.cast(image[top : top + side, left : left + side], tf.float32)
        square = tf.image.resize(square, (size, size), "bicubic", antialias=True)
        high = 255.0 if image.dtype == tf.uint8 else 1.0
        square = tf.clip_by_value(square, 0.0, high)
        return tf.cast(tf.round(square) if image.dtype == tf.uint8 else square, image.dtype)

    if image.shape.is_fully_defined():
        return image if image.shape[:2] == (size, size) else resize()
    fits = tf.reduce_all(tf.equal(tf.shape(image)[:2], size))
    return tf.ensure_shape(tf.cond(fits, lambda: image, resize), (size, size, 3))
