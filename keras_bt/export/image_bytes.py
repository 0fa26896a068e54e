"""Decodes image files inside a TensorFlow graph, as an evaluation does."""

import tensorflow as tf

PNG_START = b"\x89PNG\r\n\x1a\n"


def images_from_bytes(encoded: tf.Tensor, image_size: int) -> tf.Tensor:
    """Decodes image files of any size to the images that an evaluation uses.

    Transparent pixels become white. The central square is resized (bicubic).

    Args:
        encoded: String tensor [batch]: the content of JPEG, PNG, BMP or GIF files (first
            frame).
        image_size: Height and width of the result, in pixels.

    Returns:
        Float32 tensor [batch, image_size, image_size, 3] in [0, 1].

    Raises:
        tf.errors.InvalidArgumentError: If one of the files is not an image, or is damaged.

    Example:
        >>> png = tf.io.encode_png(tf.zeros([5, 9, 1], tf.uint8))
        >>> images_from_bytes(tf.stack([png, png]), image_size=4).shape
        TensorShape([2, 4, 4, 3])

    Differs from `data.from_folder`: ignores the orientation in EXIF, because TensorFlow has no
        operation that reads it.
    """
    from keras_bt.data.decode import decode_image, fit_square  # whose package imports Pillow

    def image(encoded: tf.Tensor) -> tf.Tensor:
        is_png = tf.equal(tf.strings.substr(encoded, 0, len(PNG_START)), PNG_START)
        decoded = tf.cond(is_png, lambda: _png_on_white(encoded), lambda: decode_image(encoded))
        return tf.cast(fit_square(decoded, image_size), tf.float32) / 255.0

    spec = tf.TensorSpec([image_size, image_size, 3], tf.float32)
    return tf.map_fn(image, encoded, fn_output_signature=spec)


def _png_on_white(encoded: tf.Tensor) -> tf.Tensor:
    decoded = tf.cast(tf.io.decode_png(encoded, channels=4), tf.float32)
    color, alpha = decoded[..., :3], decoded[..., 3:] / 255.0
    on_white = tf.round(color * alpha + 255.0 * (1.0 - alpha))
    return tf.ensure_shape(tf.cast(on_white, tf.uint8), (None, None, 3))
