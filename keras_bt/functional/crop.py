"""Random crops, resizes and mirror images of a whole batch, as matrices along each axis.

Images are planar floats [batch, channels, height, width]. Every image has parameters of its
own, and all functions compile under XLA.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

CROP_ATTEMPTS = 10
CROP_UNIFORMS = 2 * CROP_ATTEMPTS + 2  # an area and an aspect per attempt, then top and left


def random_crop_boxes(
    uniform: tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    area_range: tuple[float, float],
    aspect_range: tuple[float, float],
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draws boxes like torchvision: uniform area, log-uniform aspect, ten attempts.

        w = round(sqrt(area * aspect))    h = round(sqrt(area / aspect))

    The first box that fits inside the image is placed uniformly. If none fits, the result is
    the largest central box within `aspect_range`.

    Args:
        uniform: Float tensor [batch, CROP_UNIFORMS] in [0, 1).
        height: Height of the images in pixels, one for all or a tensor [batch].
        width: Width of the images in pixels, one for all or a tensor [batch].
        area_range: (low, high), fraction of the image's area.
        aspect_range: (low, high), width / height of the box in pixels.

    Returns:
        top, left, box_height, box_width: float tensors [batch], whole numbers of pixels.

    Example:
        >>> boxes = random_crop_boxes(tf.zeros([1, CROP_UNIFORMS]), 40, 40, (0.25, 1), (1, 2))
        >>> [float(edge[0]) for edge in boxes]
        [0.0, 0.0, 20.0, 20.0]

    Source: torchvision 0.29 transforms.RandomResizedCrop.get_params.
    """
    attempts = CROP_ATTEMPTS
    height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    low, high = area_range
    area = (low + (high - low) * uniform[:, :attempts]) * (height * width)[..., None]
    low, high = math.log(aspect_range[0]), math.log(aspect_range[1])
    aspect = tf.exp(low + (high - low) * uniform[:, attempts : 2 * attempts])
    box_width = tf.round(tf.sqrt(area * aspect))
    box_height = tf.round(tf.sqrt(area / aspect))

    fits = (box_width > 0) & (box_width <= width[..., None])
    fits &= (box_height > 0) & (box_height <= height[..., None])
    found = tf.reduce_any(fits, axis=1)
    first = tf.one_hot(tf.argmax(tf.cast(fits, tf.int32), axis=1), attempts)
    central_height, central_width = _central_box(height, width, aspect_range)
    box_height = tf.where(found, tf.reduce_sum(box_height * first, 1), central_height)
    box_width = tf.where(found, tf.reduce_sum(box_width * first, 1), central_width)

    room_above, room_left = height - box_height, width - box_width
    top = tf.where(found, tf.floor(uniform[:, -2] * (room_above + 1.0)), room_above // 2)
    left = tf.where(found, tf.floor(uniform[:, -1] * (room_left + 1.0)), room_left // 2)
    # A draw of 1 - 2^-24 times a large number may round up to that number.
    return tf.minimum(top, room_above), tf.minimum(left, room_left), box_height, box_width


def squash_boxes(
    boxes: Sequence[tf.Tensor],
    height: tf.Tensor,
    width: tf.Tensor,
    squashed_height: int,
    squashed_width: int,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Boxes of images of any shape, in the pixels of the same images squashed to one size.

        top, box_height * squashed_height / height    left, box_width * squashed_width / width

    `resize_weights` of a squashed box undo the squash: each axis has a scale of its own.

    Args:
        boxes: top, left, box_height, box_width: float tensors [batch], in true pixels.
        height: Tensor [batch]. True heights, in pixels.
        width: Tensor [batch]. True widths, in pixels.
        squashed_height: Height of the squashed images, in pixels.
        squashed_width: Width of the squashed images, in pixels.

    Returns:
        top, left, box_height, box_width: float tensors [batch], with fractions of pixels.

    Example:
        >>> box = [tf.constant([edge]) for edge in (30.0, 100.0, 80.0, 160.0)]
        >>> squashed = squash_boxes(box, tf.constant([240]), tf.constant([480]), 30, 30)
        >>> [float(edge[0]) for edge in squashed]
        [3.75, 6.25, 10.0, 10.0]
    """
    top, left, box_height, box_width = boxes
    rows = squashed_height / tf.cast(height, tf.float32)  # exactly 1 for images of that size
    columns = squashed_width / tf.cast(width, tf.float32)
    return top * rows, left * columns, box_height * rows, box_width * columns


def resize_weights(
    start: tf.Tensor,
    length: tf.Tensor,
    size_in: int,
    size_out: int,
    *,
    flip: tf.Tensor | None = None,
    method: str = "bicubic",
) -> tf.Tensor:
    """Matrices that crop and resize one image axis, antialiased when they shrink it.

        out[o] = sum_i weights[o, i] * pixels[i]

    A pixel that the crop covers in part counts in part.

    Args:
        start: Float tensor [batch]. First pixel of the crop, or a fraction within it.
        length: Float tensor [batch]. Pixels in the crop, more than 0.
        size_in: Pixels along the axis.
        size_out: Pixels along the resized axis.
        flip: Bool tensor [batch], true where the axis is mirrored; None mirrors no image.
        method: "bicubic" or "bilinear".

    Returns:
        Float tensor [batch, size_out, size_in], each row summing to 1.

    Example:
        >>> halve = resize_weights(tf.zeros([1]), tf.fill([1], 4.0), 4, 2, method="bilinear")
        >>> halve.numpy().round(3)
        array([[[0.429, 0.429, 0.143, 0.   ],
                [0.   , 0.143, 0.429, 0.429]]], dtype=float32)

    Source: Pillow's Image.resize(box=...); torchvision resized_crop(antialias=True).
    """
    out = tf.range(size_out, dtype=tf.float32)[None, :]
    if flip is not None:
        out = tf.where(flip[:, None], size_out - 1.0 - out, out)
    ratio = length[:, None] / size_out
    center = (start[:, None] + (out + 0.5) * ratio)[:, :, None]
    scale = tf.maximum(ratio, 1.0)[:, :, None]
    pixel = tf.range(size_in, dtype=tf.float32)[None, None, :]

    kernel = {"bicubic": _cubic, "bilinear": _triangle}[method]
    weights = kernel(tf.abs(pixel + 0.5 - center) / scale)
    first, past = start[:, None, None], (start + length)[:, None, None]
    covered = tf.clip_by_value(tf.minimum(pixel + 1.0, past) - tf.maximum(pixel, first), 0.0, 1.0)
    weights *= covered
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


def apply_separable(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Applies one matrix down the rows and one along the columns of each image.

        out = rows @ image @ columns^T

    Args:
        images: Float tensor [batch, channels, height, width].
        rows: Float tensor [batch, height_out, height].
        columns: Float tensor [batch, width_out, width].

    Returns:
        Float tensor [batch, channels, height_out, width_out].

    Example:
        >>> image = tf.constant([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> swap = tf.constant([[[0.0, 1.0], [1.0, 0.0]]])
        >>> apply_separable(image, swap, swap).numpy().tolist()
        [[[[4.0, 3.0], [2.0, 1.0]]]]
    """
    return tf.matmul(rows[:, None] @ images, columns[:, None], transpose_b=True)


def _central_box(
    height: tf.Tensor, width: tf.Tensor, aspect_range: tuple[float, float]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width of the largest box within the aspect range, at least one pixel."""
    narrowest, widest = aspect_range
    box_height = tf.where(width / height < narrowest, tf.round(width / narrowest), height)
    box_width = tf.where(width / height > widest, tf.round(height * widest), width)
    return tf.maximum(box_height, 1.0), tf.maximum(box_width, 1.0)


def _cubic(x: tf.Tensor, a: float = -0.5) -> tf.Tensor:
    """Keys' cubic kernel at distance `x`."""
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return tf.where(x < 1.0, near, tf.where(x < 2.0, far, 0.0))


def _triangle(x: tf.Tensor) -> tf.Tensor:
    """Bilinear kernel at distance `x`."""
    return tf.maximum(0.0, 1.0 - x)
