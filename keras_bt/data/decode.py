"""Decodes images of any format."""

import tensorflow as tf


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG, PNG, WebP, BMP or GIF (first frame) to uint8 RGB [height, width, 3].

    White is behind transparency, except in a GIF, where TensorFlow decodes it to black.
    """
    starts = tf.strings.substr(encoded, 0, 4)
    image = tf.case(
        [
            (tf.io.is_jpeg(encoded), lambda: decode_jpeg(encoded)),
            (tf.equal(starts, b"\x89PNG"), lambda: decode_png(encoded)),
            (tf.equal(starts, b"RIFF"), lambda: _decode_webp(encoded)),
            (tf.equal(tf.strings.substr(starts, 0, 2), b"BM"), lambda: _decode_bmp(encoded)),
        ],
        lambda: _decode(encoded, channels=3),
    )
    return tf.ensure_shape(image, (None, None, 3))


def decode_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG to uint8 RGB, with the same pixels as other software."""
    # TensorFlow's default method differs by up to 6 of 255.
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def decode_png(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG of any depth and color type to uint8 RGB, with white behind transparency."""
    rgba = tf.io.decode_png(encoded, channels=4)
    with tf.control_dependencies([rgba]):  # a file that is cut off has no such byte
        depth = tf.io.decode_raw(tf.strings.substr(encoded, 24, 1), tf.uint8)[0]
    # An opaque PNG of less than 8 bits gets an alpha of 1, 3 or 15 from TensorFlow 2.21.
    opaque = 2 ** tf.minimum(tf.cast(depth, tf.int32), 8) - 1
    return _on_white(rgba, tf.cast(opaque, tf.uint8))


def _on_white(rgba: tf.Tensor, opaque: tf.Tensor | int = 255) -> tf.Tensor:
    """Puts white behind transparency; an image whose every alpha is `opaque` has none."""

    def compose() -> tf.Tensor:
        pixels = tf.cast(rgba, tf.float32)
        alpha = pixels[..., 3:] / 255.0
        return tf.cast(tf.round(pixels[..., :3] * alpha + 255.0 * (1.0 - alpha)), tf.uint8)

    return tf.cond(tf.reduce_all(tf.equal(rgba[..., 3], opaque)), lambda: rgba[..., :3], compose)


def _decode_webp(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a WebP; refuses an animated one."""
    # TensorFlow 2.21 writes beyond its memory for an animated one.
    start = tf.strings.substr(encoded, 0, 21) + bytes(21)
    flags = tf.io.decode_raw(tf.strings.substr(start, 20, 1), tf.uint8)[0]
    extended = tf.equal(tf.strings.substr(start, 12, 4), b"VP8X")
    still = ~(extended & tf.equal(tf.bitwise.bitwise_and(flags, 2), 2))
    refused = tf.debugging.Assert(still, ["An animated WebP cannot be decoded here; use a PNG."])
    with tf.control_dependencies([refused]):
        image = _decode(encoded, channels=0)  # RGB or RGBA
    return _on_white(tf.concat([image, 255 * tf.ones_like(image[..., :1])], -1)[..., :4])


def _decode_bmp(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a BMP of 8, 24 or 32 bits."""
    image = tf.io.decode_bmp(encoded)

    def look_up() -> tf.Tensor:
        """The colors of 8 bits, whose numbers TensorFlow 2.21 returns."""
        first, end = 14 + _int32(encoded, 14), _int32(encoded, 10)
        colors = tf.io.decode_raw(tf.strings.substr(encoded, first, end - first), tf.uint8)
        return tf.gather(tf.reshape(colors, [-1, 4])[:, 2::-1], tf.cast(image[..., 0], tf.int32))

    return tf.cond(tf.equal(tf.shape(image)[-1], 1), look_up, lambda: image[..., :3])


def _int32(encoded: tf.Tensor, position: int) -> tf.Tensor:
    """A little-endian number."""
    return tf.io.decode_raw(tf.strings.substr(encoded, position, 4), tf.int32)[0]


def _decode(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    """TensorFlow's decoder for any format."""
    return tf.io.decode_image(encoded, channels=channels, expand_animations=False)


def image_and_label(image: tf.Tensor, label: tf.Tensor | None) -> dict[str, tf.Tensor]:
    """An example as `Images.decode` returns it, without "label" if `label` is None."""
    return {"image": image} if label is None else {"image": image, "label": label}
