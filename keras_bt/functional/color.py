"""Color jitter, grayscale and solarize of a whole batch, with parameters per image.

Images are planar floats in [0, 1], [batch, 3, height, width]. There is no loop over images and
no random state, and all functions compile under XLA. A parameter that changes nothing (factor
1, hue 0) stands for "not applied", so one batch mixes both.
"""

import tensorflow as tf

LUMA = (0.2989, 0.587, 0.114)  # weights of gray in torchvision and tf.image


def grayscale(images: tf.Tensor) -> tf.Tensor:
    """The luma of RGB images.

    Args:
        images: Float tensor [batch, 3, height, width].

    Returns:
        Float tensor [batch, 1, height, width].

    Example:
        >>> grayscale(tf.reshape([1.0, 0.5, 0.0], [1, 3, 1, 1])).numpy().ravel()
        array([0.5924], dtype=float32)
    """
    red, green, blue = tf.split(images, 3, axis=1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def color_jitter(
    images: tf.Tensor,
    brightness: tf.Tensor,
    contrast: tf.Tensor,
    saturation: tf.Tensor,
    hue: tf.Tensor | None,
    order: tf.Tensor,
) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue, in an order per image.

        brightness: f x    contrast: f x + (1-f) mean(gray)    saturation: f x + (1-f) gray

    each clipped to [0, 1]; `shift_hue` changes the hue.

    Args:
        images: Float tensor [batch, 3, height, width] in [0, 1].
        brightness: Float tensor [batch]. Factor, 1 changes nothing.
        contrast: Float tensor [batch]. Factor, 1 changes nothing.
        saturation: Float tensor [batch]. Factor, 1 changes nothing.
        hue: Float tensor [batch], in turns of the color circle, 0 changes nothing; None skips
            the hue of all images.
        order: Int tensor [batch, 4]. Turns of brightness, contrast, saturation and hue: a
            permutation of 0...3.

    Returns:
        Float tensor [batch, 3, height, width] in [0, 1].

    Example:
        >>> gray = tf.fill([1, 3, 1, 1], 0.25)
        >>> one, order = tf.ones([1]), tf.constant([[0, 1, 2, 3]])
        >>> color_jitter(gray, 2.0 * one, one, one, None, order).numpy().ravel()
        array([0.5, 0.5, 0.5], dtype=float32)

    Source: torchvision transforms.ColorJitter.
    """
    hue_turn = order[:, 3]

    def blend(images: tf.Tensor, turn: int, active: tf.Tensor) -> tf.Tensor:
        """Applies to each active image the one of the first three operations in its turn."""
        bright, contrasted, saturated = tf.unstack((order[:, :3] == turn) & active[:, None], axis=1)
        factor = tf.where(bright, brightness, tf.ones_like(brightness))
        factor = tf.where(contrasted, contrast, tf.where(saturated, saturation, factor))
        mean_factor = tf.where(contrasted, 1.0 - contrast, 0.0)
        gray_factor = tf.where(saturated, 1.0 - saturation, 0.0)
        gray = grayscale(images)
        mean = tf.reduce_mean(gray, axis=[2, 3], keepdims=True)
        blended = (
            _per_image(factor) * images
            + _per_image(gray_factor) * gray
            + _per_image(mean_factor) * mean
        )
        return tf.clip_by_value(blended, 0.0, 1.0)

    if hue is None:
        for turn in range(4):
            images = blend(images, turn, tf.ones_like(hue_turn, tf.bool))
        return images
    # Hue is expensive: it is computed once, between the turns before it and those after it.
    for turn in (0, 1, 2):
        images = blend(images, turn, turn < hue_turn)
    images = shift_hue(images, hue)
    for turn in (1, 2, 3):
        images = blend(images, turn, turn > hue_turn)
    return images


def shift_hue(images: tf.Tensor, hue: tf.Tensor) -> tf.Tensor:
    """Turns the hue of each image; value and saturation stay.

    Args:
        images: Float tensor [batch, 3, height, width] in [0, 1].
        hue: Float tensor [batch], in turns of the color circle.

    Returns:
        Float tensor [batch, 3, height, width] in [0, 1].

    Example:
        >>> red = tf.reshape([1.0, 0.0, 0.0], [1, 3, 1, 1])
        >>> shift_hue(red, tf.constant([1 / 3])).numpy().ravel().round(3)
        array([0., 1., 0.], dtype=float32)

    Source: torchvision adjust_hue.
    """
    red, green, blue = tf.unstack(images, axis=1)
    value = tf.maximum(tf.maximum(red, green), blue)
    chroma = value - tf.minimum(tf.minimum(red, green), blue)
    inverse = tf.math.divide_no_nan(1.0, chroma)
    # Not `value == red`: each fused kernel of XLA computes a pixel again, with other last bits,
    # so equality fails. The order of two channels flips only where both give the same hue.
    sixths = tf.where(
        (red >= green) & (red >= blue),
        (green - blue) * inverse,
        tf.where(green >= blue, 2.0 + (blue - red) * inverse, 4.0 + (red - green) * inverse),
    )
    sixths += 6.0 * hue[:, None, None]

    def channel(offset: float) -> tf.Tensor:
        turned = offset + sixths
        distance = turned - 6.0 * tf.floor(turned / 6.0)  # XLA does not vectorize floormod
        return value - chroma * tf.clip_by_value(tf.minimum(distance, 4.0 - distance), 0.0, 1.0)

    return tf.stack([channel(5.0), channel(3.0), channel(1.0)], axis=1)


def solarize(images: tf.Tensor, threshold: float = 0.5) -> tf.Tensor:
    """Inverts the pixels at or above a threshold.

    Args:
        images: Float tensor in [0, 1].
        threshold: In [0, 1]. On whole uint8 values 0.5 is Pillow's 128.

    Returns:
        Float tensor of the same shape.

    Example:
        >>> solarize(tf.constant([0.25, 0.75])).numpy()
        array([0.25, 0.25], dtype=float32)

    Source: Pillow ImageOps.solarize.
    """
    return tf.where(images >= threshold, 1.0 - images, images)


def _per_image(factor: tf.Tensor) -> tf.Tensor:
    """Broadcasts a factor [batch] over images [batch, channels, height, width]."""
    return factor[:, None, None, None]
