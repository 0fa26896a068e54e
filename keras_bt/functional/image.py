"""Augmentations of a whole batch at once, every parameter a number per image.

Images are planar floats in [0, 1], [batch, 3, height, width]. There is no loop over
images and no random state: each function compiles under XLA. "Not applied" is always
the identity parameter (factor 1, shift 0, sigma 0), so one batch mixes both.
"""

import math

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops.gen_xla_ops import xla_optimization_barrier

from keras_bt._support.compat import compiled_by_xla

CROP_ATTEMPTS = 10
CROP_UNIFORMS = 2 * CROP_ATTEMPTS + 2  # an area and an aspect each, then top and left
LUMA = (0.2989, 0.587, 0.114)  # torchvision's and tf.image's weights of grey


def as_unit_range(images):
    """Images as float32 in [0, 1], the one pixel convention of keras_bt.

    Args:
        images: uint8 tensor in 0...255, or floating point in [0, 1], any shape.

    Returns:
        Float32 tensor of the same shape.

    Raises:
        TypeError: If the dtype is neither uint8 nor floating point.
        ValueError: If floating point values lie far outside [0, 1]. A little overshoot,
            as of a bicubic resize, is let through. Inside a graph the same is met as
            `tf.errors.InvalidArgumentError`; XLA drops the check.

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


def random_crop_boxes(uniform, height, width, area_range, aspect_range):
    """Boxes by torchvision's law: uniform area, log-uniform aspect, ten tries.

        w = round(sqrt(area * aspect))    h = round(sqrt(area / aspect))

    The first try that fits inside the image is placed uniformly; if none fits, the box
    is the largest central one within `aspect_range`.

    Args:
        uniform: Float tensor [batch, CROP_UNIFORMS] in [0, 1).
        height: Int, of the images.
        width: Int, of the images.
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
    tries = CROP_ATTEMPTS
    low, high = area_range
    area = (low + (high - low) * uniform[:, :tries]) * (height * width)
    low, high = math.log(aspect_range[0]), math.log(aspect_range[1])
    aspect = tf.exp(low + (high - low) * uniform[:, tries : 2 * tries])
    box_width = tf.round(tf.sqrt(area * aspect))
    box_height = tf.round(tf.sqrt(area / aspect))

    fits = (box_width > 0) & (box_width <= width) & (box_height > 0) & (box_height <= height)
    found = tf.reduce_any(fits, axis=1)
    first = tf.one_hot(tf.argmax(tf.cast(fits, tf.int32), axis=1), tries)
    central_height, central_width = _central_box(height, width, aspect_range)
    box_height = tf.where(found, tf.reduce_sum(box_height * first, 1), central_height)
    box_width = tf.where(found, tf.reduce_sum(box_width * first, 1), central_width)

    room_above, room_left = height - box_height, width - box_width
    top = tf.where(found, tf.floor(uniform[:, -2] * (room_above + 1.0)), room_above // 2)
    left = tf.where(found, tf.floor(uniform[:, -1] * (room_left + 1.0)), room_left // 2)
    # A uniform draw of 1 - 2^-24 times a large number may round up to that number.
    return tf.minimum(top, room_above), tf.minimum(left, room_left), box_height, box_width


def resize_weights(start, length, size_in, size_out, *, flip=None, method="bicubic"):
    """Matrices that crop and resize one image axis, antialiased when shrinking.

        out[o] = sum_i weights[o, i] * pixels[i]

    Args:
        start: Float tensor [batch]. First pixel of the crop.
        length: Float tensor [batch]. Pixels in the crop.
        size_in: Int. Pixels along the axis.
        size_out: Int. Pixels wanted.
        flip: Bool tensor [batch], true where the axis is mirrored; None for none.
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
    weights = tf.where((pixel >= first) & (pixel < past), weights, 0.0)
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


def apply_separable(images, rows, columns):
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


def gaussian_blur(images, sigma, most_sigma):
    """Blurs each image by a Gaussian of its own width, the border mirrored.

    Args:
        images: Float tensor [batch, channels, height, width].
        sigma: Float tensor [batch]. Standard deviation in pixels; 0 leaves as is.
        most_sigma: Float. None of `sigma` is larger.

    Returns:
        Float tensor like `images`.

    Example:
        >>> image = tf.constant([[[[1.0, 0.0, 0.0, 0.0]]]])
        >>> gaussian_blur(image, tf.constant([0.5]), 0.5).numpy().round(3)
        array([[[[0.787, 0.106, 0.   , 0.   ]]]], dtype=float32)

    Source: torchvision gaussian_blur (border "reflect").
    Differs from source: the kernel is cut at 4.5 standard deviations or, as a matrix, where
        it is reflected twice, not at a kernel size; the official code's Pillow blur
        approximates the Gaussian by box blurs.
    """
    height, width = images.shape[2:]
    radius = math.ceil(4.5 * most_sigma)
    if compiled_by_xla() and radius < min(height, width):
        # XLA makes one loop of all the shifted images: a third of the matrices' time.
        return _sum_of_shifted(
            _sum_of_shifted(images, sigma, radius, axis=2), sigma, radius, axis=3
        )
    rows, columns = gaussian_blur_weights(sigma, height), gaussian_blur_weights(sigma, width)
    return apply_separable(images, rows, columns)


def gaussian_blur_weights(sigma, size):
    """Matrices of a Gaussian blur along one axis, the border mirrored.

    Args:
        sigma: Float tensor [batch]. Standard deviation in pixels; 0 leaves as is.
        size: Int. Pixels along the axis.

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
    distance_to = tf.range(size, dtype=tf.float32)
    y, x = distance_to[:, None], distance_to[None, :]
    last = size - 1.0
    weights = _gaussian(y - x, sigma)
    weights += tf.where(x > 0, _gaussian(y + x, sigma), 0.0)  # x mirrored in the first pixel
    weights += tf.where(x < last, _gaussian(2.0 * last - x - y, sigma), 0.0)  # and in the last
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


def apply_to_chosen(function, images, chosen):
    """Applies a function to some images of a batch, at little more than their cost.

    They are taken an eighth of the batch at a time, which may bring others with them: the
    function has to leave those as they are.

    Args:
        function: From tensors [rows, ...], images, and int [rows], their places in the batch,
            to images [rows, ...].
        images: Tensor [batch, ...].
        chosen: Bool tensor [batch].

    Returns:
        Tensor like `images`.

    Example:
        >>> chosen = tf.constant([False, True, False])
        >>> def negate(images, places):
        ...     return tf.where(tf.gather(chosen, places), -images, images)
        >>> apply_to_chosen(negate, tf.constant([1.0, 2.0, 3.0]), chosen).numpy()
        array([ 1., -2.,  3.], dtype=float32)
    """
    batch = images.shape[0] or tf.shape(images)[0]
    rows = tf.maximum(batch // 8, 1) if tf.is_tensor(batch) else max(batch // 8, 1)
    places = tf.argsort(tf.cast(chosen, tf.int32), direction="DESCENDING", stable=True)
    places = tf.concat([places, tf.repeat(places[-1:], rows)], axis=0)
    count = tf.reduce_sum(tf.cast(chosen, tf.int32))

    def apply_to_rows(first, images):
        taken = tf.slice(places, [first], [rows])
        changed = function(tf.gather(images, taken), taken)
        return first + rows, tf.tensor_scatter_nd_update(images, taken[:, None], changed)

    return tf.while_loop(lambda first, _: first < count, apply_to_rows, (0, images))[1]


def grayscale(images):
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


def color_jitter(images, brightness, contrast, saturation, hue, order):
    """Brightness, contrast, saturation and hue, in an order of each image's own.

        brightness: f x    contrast: f x + (1-f) mean(gray)    saturation: f x + (1-f) gray

    each clipped to [0, 1]; hue turns the color circle.

    Args:
        images: Float tensor [batch, 3, height, width] in [0, 1].
        brightness: Float tensor [batch]. Factor, 1 leaves as is.
        contrast: Float tensor [batch]. Factor, 1 leaves as is.
        saturation: Float tensor [batch]. Factor, 1 leaves as is.
        hue: Float tensor [batch], in turns of the color circle, 0 leaves as is; or None
            where no image's hue is to be touched.
        order: Int tensor [batch, 4]. When each of brightness, contrast, saturation, hue
            is applied: a permutation of 0...3.

    Returns:
        Float tensor [batch, 3, height, width] in [0, 1].

    Example:
        >>> gray = tf.fill([1, 3, 1, 1], 0.25)
        >>> one, order = tf.ones([1]), tf.constant([[0, 1, 2, 3]])
        >>> color_jitter(gray, 2.0 * one, one, one, None, order).numpy().ravel()
        array([0.5, 0.5, 0.5], dtype=float32)

    Source: torchvision transforms.ColorJitter.
    """
    turn_of_hue = order[:, 3]

    def blend(images, turn, active):
        bright, contrasted, saturated = tf.unstack((order[:, :3] == turn) & active[:, None], axis=1)
        one = tf.ones_like(brightness)
        own = tf.where(bright, brightness, one)
        own = tf.where(contrasted, contrast, tf.where(saturated, saturation, own))
        of_mean = tf.where(contrasted, 1.0 - contrast, 0.0)
        of_gray = tf.where(saturated, 1.0 - saturation, 0.0)
        gray = grayscale(images)
        mean = tf.reduce_mean(gray, axis=[2, 3], keepdims=True)
        blended = _per_image(own) * images + _per_image(of_gray) * gray + _per_image(of_mean) * mean
        return tf.clip_by_value(blended, 0.0, 1.0)

    if hue is None:
        for turn in range(4):
            images = blend(images, turn, tf.ones_like(turn_of_hue, tf.bool))
        return images
    # Hue is the costly one: it is computed once, between what precedes and follows it.
    for turn in (0, 1, 2):
        images = blend(images, turn, turn < turn_of_hue)
    images = shift_hue(images, hue)
    for turn in (1, 2, 3):
        images = blend(images, turn, turn > turn_of_hue)
    return images


def shift_hue(images, hue):
    """Turns the hue of each image, its value and saturation kept.

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
    # Not `value == red`: XLA computes a pixel anew in each fused kernel, with another last
    # bit, and equality fails. The order of two channels only flips where the hue is the same.
    sixths = tf.where(
        (red >= green) & (red >= blue),
        (green - blue) * inverse,
        tf.where(green >= blue, 2.0 + (blue - red) * inverse, 4.0 + (red - green) * inverse),
    )
    sixths += 6.0 * hue[:, None, None]

    def channel(offset):
        turned = offset + sixths
        distance = turned - 6.0 * tf.floor(turned / 6.0)  # XLA does not vectorize floormod
        return value - chroma * tf.clip_by_value(tf.minimum(distance, 4.0 - distance), 0.0, 1.0)

    return tf.stack([channel(5.0), channel(3.0), channel(1.0)], axis=1)


def solarize(images, threshold=0.5):
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


def _central_box(height, width, aspect_range):
    if width / height < aspect_range[0]:
        return max(1.0, float(round(width / aspect_range[0]))), float(width)
    if width / height > aspect_range[1]:
        return float(height), max(1.0, float(round(height * aspect_range[1])))
    return float(height), float(width)


def _cubic(x, a=-0.5):
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return tf.where(x < 1.0, near, tf.where(x < 2.0, far, 0.0))


def _triangle(x):
    return tf.maximum(0.0, 1.0 - x)


def _gaussian(distance, sigma):
    sigma = tf.maximum(sigma, 1e-2)  # at 0.01 the neighbours' weight is 0
    return tf.exp(-0.5 * tf.square(distance / tf.reshape(sigma, [-1] + [1] * distance.shape.rank)))


def _sum_of_shifted(images, sigma, radius, axis):
    """The blur along one axis."""
    weights = _gaussian(tf.range(-radius, radius + 1, dtype=tf.float32), sigma)
    weights /= tf.reduce_sum(weights, axis=-1, keepdims=True)
    paddings = [[radius, radius] if axis == padded else [0, 0] for padded in range(4)]
    mirrored, size = tf.pad(images, paddings, "REFLECT"), images.shape[axis]
    (mirrored,) = xla_optimization_barrier([mirrored])
    shifted = (
        mirrored[:, :, place : place + size] if axis == 2 else mirrored[..., place : place + size]
        for place in range(2 * radius + 1)
    )
    return sum(
        _per_image(weight) * image
        for weight, image in zip(tf.unstack(weights, axis=1), shifted, strict=True)
    )


def _per_image(factor):
    return factor[:, None, None, None]
