"""From the bytes of an image's file to the image an evaluation gives the encoder, in a graph."""

import tensorflow as tf

PNG_START = b"\x89PNG\r\n\x1a\n"


def images_from_bytes(encoded, image_size):
    """Images of any sizes from the bytes of their files, as evaluation sees them.

    Decoded, transparent ones on white, the central square of each, resized (bicubic).

    Args:
        encoded: String tensor [batch]: JPEG, PNG, BMP or GIF (its first frame).
        image_size: Int. Side of the result, in pixels.

    Returns:
        Float32 tensor [batch, image_size, image_size, 3] in [0, 1].

    Raises:
        tf.errors.InvalidArgumentError: If one of them is no image, or a damaged one.

    Example:
        >>> png = tf.io.encode_png(tf.zeros([5, 9, 1], tf.uint8))
        >>> images_from_bytes(tf.stack([png, png]), image_size=4).shape
        TensorShape([2, 4, 4, 3])

    Differs from `data.from_folder`: turns by EXIF are not followed, since TensorFlow has no
        operation that reads them.
    """

    from keras_bt.data.images import decode_image, fit_square  # whose package imports Pillow

    def image(encoded):
        is_png = tf.equal(tf.strings.substr(encoded, 0, len(PNG_START)), PNG_START)
        decoded = tf.cond(is_png, lambda: _png_on_white(encoded), lambda: decode_image(encoded))
        return tf.cast(fit_square(decoded, image_size), tf.float32) / 255.0

    spec = tf.TensorSpec([image_size, image_size, 3], tf.float32)
    return tf.map_fn(image, encoded, fn_output_signature=spec)


def _png_on_white(encoded):
    decoded = tf.cast(tf.io.decode_png(encoded, channels=4), tf.float32)
    color, alpha = decoded[..., :3], decoded[..., 3:] / 255.0
    on_white = tf.round(color * alpha + 255.0 * (1.0 - alpha))
    return tf.ensure_shape(tf.cast(on_white, tf.uint8), (None, None, 3))
