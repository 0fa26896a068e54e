"""Gaussian blur of a whole batch, with a standard deviation per image.

Images are planar floats [batch, channels, height, width]. All functions compile under XLA.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from keras_bt._support.compat import compiled_by_xla, computed_once
from keras_bt.functional.crop import apply_separable


def gaussian_blur(images: tf.Tensor, sigma: tf.Tensor, max_sigma: float) -> tf.Tensor:
    """Blurs each image by a Gaussian of its own width, with a mirrored border.

    Args:
        images: Float tensor [batch, channels, height, width].
        sigma: Float tensor [batch]. Standard deviation in pixels; 0 changes nothing.
        max_sigma: Upper bound of `sigma`.

    Returns:
        Float tensor like `images`.

    Example:
        >>> image = tf.constant([[[[1.0, 0.0, 0.0, 0.0]]]])
        >>> gaussian_blur(image, tf.constant([0.5]), 0.5).numpy().round(3)
        array([[[[0.787, 0.106, 0.   , 0.   ]]]], dtype=float32)

    Source: torchvision gaussian_blur (border "reflect").
    Differs from source: no kernel size. Shifted images cut the kernel at 4.5 standard
        deviations, matrices where it would be reflected twice. The official code uses
        Pillow, which approximates the Gaussian by box blurs.
    """
    height, width = images.shape[2:]
    radius = math.ceil(4.5 * max_sigma)
    if compiled_by_xla() and radius < min(height, width):
        # XLA fuses the shifted images into one loop, in a third of the matrices' time.
        return _sum_of_shifted(
            _sum_of_shifted(images, sigma, radius, axis=2), sigma, radius, axis=3
        )
    rows, columns = gaussian_blur_weights(sigma, height), gaussian_blur_weights(sigma, width)
    return apply_separable(images, rows, columns)


def gaussian_blur_weights(sigma: tf.Tensor, size: int) -> tf.Tensor:
    """Matrices of a Gaussian blur along one axis, with a mirrored border.

    Args:
        sigma: Float tensor [batch]. Standard deviation in pixels; 0 changes nothing.
        size: Pixels along the axis.

    Returns:
        Float tensor [batch, size, size], each row summing to 1.

    Example:
        >>> gaussian_blur_weights(tf.constant([0.0, 0.5]), 2).numpy().round(3)
        array([[[1.   , 0.   ],
                [0.   , 1.   ]],
        <BLANKLINE>
               [[0.787, 0.213],
                [0.213, 0.787]]], dtype=float32)
    """
    pixel = tf.range(size, dtype=tf.float32)
    y, x = pixel[:, None], pixel[None, :]
    last = size - 1.0
    weights = _gaussian(y - x, sigma)
    weights += tf.where(x > 0, _gaussian(y + x, sigma), 0.0)  # x mirrored in the first pixel
    weights += tf.where(x < last, _gaussian(2.0 * last - x - y, sigma), 0.0)  # and in the last
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


def apply_to_chosen(
    function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], images: tf.Tensor, chosen: tf.Tensor
) -> tf.Tensor:
    """Applies a function to some images of a batch, at little more than their cost.

    Works through the chosen images an eighth of the batch at a time. The last part may include
    images that are not chosen, so the function must return those unchanged.

    Args:
        function: Maps images [rows, ...] and their indices, int [rows], to images [rows, ...].
        images: Tensor [batch, ...].
        chosen: Bool tensor [batch].

    Returns:
        Tensor like `images`.

    Example:
        >>> chosen = tf.constant([False, True, False])
        >>> def negate(images, indices):
        ...     return tf.where(tf.gather(chosen, indices), -images, images)
        >>> apply_to_chosen(negate, tf.constant([1.0, 2.0, 3.0]), chosen).numpy()
        array([ 1., -2.,  3.], dtype=float32)
    """
    batch = images.shape[0] or tf.shape(images)[0]
    rows = tf.maximum(batch // 8, 1) if tf.is_tensor(batch) else max(batch // 8, 1)
    chosen = tf.cast(chosen, tf.int32)
    indices = tf.argsort(chosen, direction="DESCENDING", stable=True)
    indices = tf.concat([indices, tf.repeat(indices[-1:], rows)], axis=0)  # the last part is whole
    count = tf.reduce_sum(chosen)

    def apply_to_part(first: tf.Tensor, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        part = tf.slice(indices, [first], [rows])
        changed = function(tf.gather(images, part), part)
        return first + rows, tf.tensor_scatter_nd_update(images, part[:, None], changed)

    return tf.while_loop(lambda first, _: first < count, apply_to_part, (0, images))[1]


def _gaussian(distance: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Unnormalized Gaussian weights, [batch, *distance.shape]."""
    sigma = tf.maximum(sigma, 1e-2)  # at 0.01 the weight of a neighboring pixel is 0
    return tf.exp(-0.5 * tf.square(distance / tf.reshape(sigma, [-1] + [1] * distance.shape.rank)))


def _sum_of_shifted(images: tf.Tensor, sigma: tf.Tensor, radius: int, axis: int) -> tf.Tensor:
    """Blurs along one axis by a weighted sum of shifted images."""
    weights = _gaussian(tf.range(-radius, radius + 1, dtype=tf.float32), sigma)
    weights /= tf.reduce_sum(weights, axis=-1, keepdims=True)
    paddings = [[radius, radius] if axis == padded else [0, 0] for padded in range(4)]
    # Fused into the sum, everything before this line would be computed again for each shift.
    mirrored, size = computed_once(tf.pad(images, paddings, "REFLECT")), images.shape[axis]
    shifted = (
        mirrored[:, :, start : start + size] if axis == 2 else mirrored[..., start : start + size]
        for start in range(2 * radius + 1)
    )
    return sum(
        weight[:, None, None, None] * image
        for weight, image in zip(tf.unstack(weights, axis=1), shifted, strict=True)
    )
