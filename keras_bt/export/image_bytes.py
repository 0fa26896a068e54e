"""Decodes image files inside a TensorFlow graph, as an evaluation does."""

import tensorflow as tf

from keras_bt.functional.framing import frame


def images_from_bytes(encoded: tf.Tensor, image_size: int, framing: str = "square") -> tf.Tensor:
    """Decodes image files of any size to the images that an evaluation uses.

    Transparent pixels become white, except in a GIF. Images are resized (bicubic, antialiased).

    Args:
        encoded: String tensor [batch]: the content of JPEG, PNG, WebP, BMP or GIF files
            (first frame).
        image_size: Height and width of the result, in pixels.
        framing: How images become squares; see `functional.framing.frame`.

    Returns:
        Float32 tensor [batch, image_size, image_size, 3] in [0, 1].

    Raises:
        tf.errors.InvalidArgumentError: If one of the files is not an image, or is damaged.

    Example:
        >>> png = tf.io.encode_png(tf.zeros([5, 9, 1], tf.uint8))
        >>> images_from_bytes(tf.stack([png, png]), image_size=4).shape
        TensorShape([2, 4, 4, 3])

    Differs from `data.from_folder` in what TensorFlow has no operation for: ignores the
        orientation in EXIF, and shows transparent pixels of a GIF in black.
    """
    from keras_bt.data.decode import decode_image  # whose package imports Pillow

    def image(encoded: tf.Tensor) -> tf.Tensor:
        return tf.cast(frame(decode_image(encoded), image_size, framing), tf.float32) / 255.0

    spec = tf.TensorSpec([image_size, image_size, 3], tf.float32)
    return tf.map_fn(image, encoded, fn_output_signature=spec)
