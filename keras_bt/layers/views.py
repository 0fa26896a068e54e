"""The random views of an image as keras-cv layers, and the published pairs of them."""

import numbers

import keras
import tensorflow as tf
from keras_cv.layers import VectorizedBaseImageAugmentationLayer

from keras_bt.distribution.collectives import first_row
from keras_bt.functional import image as ops
from keras_bt.layers.random import add_seed_and_calls, uniform_draws


@keras.saving.register_keras_serializable(package="keras_bt")
class BarlowTwinsView(VectorizedBaseImageAugmentationLayer):
    """One random view of each image of a batch.

    Crop-resize, mirror, color jitter, gray, blur, solarize, in this order; every decision
    is drawn for each image by itself, and the whole batch is computed at once. The draws
    follow from `seed`, the number of calls so far and the image's place in the global batch
    alone: they are the same eagerly, in `tf.data`, in `tf.function` and under XLA, on one
    replica and on many, and go on where they were after a reload.
    Calls in parallel (`dataset.map` with `num_parallel_calls`) are counted as they come.

    Args:
        image_size: Int or (height, width) of the view, in pixels.
        crop_area: (low, high). Fraction of the image's area that is kept.
        aspect_ratio: (low, high). Width / height of the crop, log-uniform.
        interpolation: "bicubic" or "bilinear", antialiased.
        flip_rate: Probability of a left-right mirror image.
        jitter_rate: Probability of the color jitter; its four parts in random order.
        brightness: Factor drawn from [1 - brightness, 1 + brightness].
        contrast: Factor drawn from [1 - contrast, 1 + contrast].
        saturation: Factor drawn from [1 - saturation, 1 + saturation].
        hue: Shift drawn from [-hue, hue], in turns of the color circle.
        grayscale_rate: Probability of dropping color.
        blur_rate: Probability of a Gaussian blur.
        blur_sigma: (low, high). Standard deviation of the blur, in pixels of the view.
        solarize_rate: Probability of inverting the bright pixels.
        solarize_threshold: From which value on, in [0, 1].
        seed: Int, 0 included; None draws one from Python's `random`, as Keras does.
        **kwargs: `keras.layers.Layer`'s `name` and `dtype` (float32 unless said).

    Call arguments:
        inputs: uint8 in 0...255 or floating point in [0, 1], [batch, height, width, 3] or
            [height, width, 3]; or a dict of those with the key "images".

    Returns:
        Float tensor [batch, *image_size, 3] (or unbatched) in [0, 1].

    Raises:
        ValueError: If an argument is out of range, or images are not RGB in range.

    Example:
        >>> view = BarlowTwinsView(image_size=8, seed=0)
        >>> view(tf.zeros([2, 16, 16, 3], tf.uint8)).shape
        TensorShape([2, 8, 8, 3])

    Source: arXiv 2103.03230, section 2.2; facebookresearch/barlowtwins main.py@8e8d284.
    Differs from source: pixels are not rounded to uint8 between the steps, and the blur
        is a true Gaussian.
    """

    def __init__(
        self,
        image_size,
        crop_area=(0.08, 1.0),
        aspect_ratio=(3 / 4, 4 / 3),
        interpolation="bicubic",
        flip_rate=0.5,
        jitter_rate=0.8,
        brightness=0.4,
        contrast=0.4,
        saturation=0.2,
        hue=0.1,
        grayscale_rate=0.2,
        blur_rate=1.0,
        blur_sigma=(0.1, 2.0),
        solarize_rate=0.0,
        solarize_threshold=0.5,
        seed=None,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.image_size = _height_and_width(image_size)
        self.crop_area = _as_tuple(crop_area)
        self.aspect_ratio = _as_tuple(aspect_ratio)
        self.interpolation = interpolation
        self.flip_rate = flip_rate
        self.jitter_rate = jitter_rate
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.grayscale_rate = grayscale_rate
        self.blur_rate = blur_rate
        self.blur_sigma = _as_tuple(blur_sigma)
        self.solarize_rate = solarize_rate
        self.solarize_threshold = solarize_threshold
        self.seed = seed
        self._check_arguments()
        self.seed_and_calls = add_seed_and_calls(self, seed)

    def call(self, inputs):
        if isinstance(inputs, dict):
            return super().call({**inputs, "images": _checked(inputs["images"])})
        return super().call(_checked(inputs))

    def get_random_transformation_batch(self, batch_size, images=None, **kwargs):
        rows = batch_size if images.shape[0] is None else images.shape[0]
        uniform = uniform_draws(
            self.seed_and_calls, rows, ops.CROP_UNIFORMS + 14, first_row=first_row(rows)
        )
        box, mirror, jitter, order, rates = tf.split(
            uniform, [ops.CROP_UNIFORMS, 1, 5, 4, 4], axis=1
        )
        gray, blur, sigma, solarize = tf.unstack(rates, axis=1)
        jittered = jitter[:, 4] < self.jitter_rate
        height, width = images.shape[1:3]
        low, high = self.blur_sigma
        return {
            "box": ops.random_crop_boxes(box, height, width, self.crop_area, self.aspect_ratio),
            "mirrored": mirror[:, 0] < self.flip_rate,
            "brightness": tf.where(jittered, _around(1.0, self.brightness, jitter[:, 0]), 1.0),
            "contrast": tf.where(jittered, _around(1.0, self.contrast, jitter[:, 1]), 1.0),
            "saturation": tf.where(jittered, _around(1.0, self.saturation, jitter[:, 2]), 1.0),
            "hue": tf.where(jittered, _around(0.0, self.hue, jitter[:, 3]), 0.0),
            "order": _ranks(order),
            "gray": gray < self.grayscale_rate,
            "sigma": tf.where(blur < self.blur_rate, low + (high - low) * sigma, 0.0),
            "solarized": solarize < self.solarize_rate,
        }

    def augment_images(self, images, transformations, **kwargs):
        height, width = images.shape[1:3]
        t = transformations
        out_height, out_width = self.image_size
        top, left, box_height, box_width = t["box"]
        method = self.interpolation

        x = tf.transpose(tf.cast(images, tf.float32), [0, 3, 1, 2])
        rows = ops.resize_weights(top, box_height, height, out_height, method=method)
        columns = ops.resize_weights(
            left, box_width, width, out_width, flip=t["mirrored"], method=method
        )
        x = tf.clip_by_value(ops.apply_separable(x, rows, columns), 0.0, 1.0)

        if self.jitter_rate:
            hue = t["hue"] if self.hue else None
            x = ops.color_jitter(
                x, t["brightness"], t["contrast"], t["saturation"], hue, t["order"]
            )
        if self.grayscale_rate:
            x = tf.where(t["gray"][:, None, None, None], ops.grayscale(x), x)
        if self.blur_rate:
            x = tf.minimum(self._blurred(x, t["sigma"]), 1.0)  # white may round above
        if self.solarize_rate:
            solarized = ops.solarize(x, self.solarize_threshold)
            x = tf.where(t["solarized"][:, None, None, None], solarized, x)
        return tf.cast(tf.transpose(x, [0, 2, 3, 1]), self.compute_dtype)

    def _blurred(self, images, sigma):
        most_sigma = self.blur_sigma[1]
        if self.blur_rate > 0.5:
            return ops.gaussian_blur(images, sigma, most_sigma)

        def blur(images, places):
            return ops.gaussian_blur(images, tf.gather(sigma, places), most_sigma)

        return ops.apply_to_chosen(blur, images, sigma > 0.0)

    def augment_labels(self, labels, transformations, **kwargs):
        return labels

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-3], *self.image_size, 3)

    def get_config(self):
        return {**super().get_config(), **{name: getattr(self, name) for name in _FIELDS}}

    def _check_arguments(self):
        if min(self.image_size) < 1:
            raise ValueError(f"image_size must be at least 1 pixel, got {self.image_size}.")
        if self.interpolation not in ("bicubic", "bilinear"):
            raise ValueError(
                f"interpolation must be 'bicubic' or 'bilinear', got {self.interpolation!r}."
            )
        for name in _RATES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}.")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue must lie in [0, 0.5] turns, got {self.hue}.")
        for name, least, most in (
            ("crop_area", 0, 1),
            ("aspect_ratio", 0, float("inf")),
            ("blur_sigma", 0, float("inf")),
        ):
            if len(getattr(self, name)) != 2:
                raise ValueError(f"{name} must be (low, high), got {getattr(self, name)}.")
            low, high = getattr(self, name)
            if not least < low <= high <= most:
                raise ValueError(
                    f"{name} must be (low, high) with {least} < low <= high <= {most}, "
                    f"got {(low, high)}."
                )


_RATES = (
    "flip_rate",
    "jitter_rate",
    "brightness",
    "contrast",
    "saturation",
    "grayscale_rate",
    "blur_rate",
    "solarize_rate",
    "solarize_threshold",
)
_FIELDS = (
    "image_size",
    "crop_area",
    "aspect_ratio",
    "interpolation",
    "hue",
    "blur_sigma",
    "seed",
    *_RATES,
)


def paper_views(image_size, **overrides):
    """The published pair: view A always blurred, view B seldom blurred, at times solarized.

    Args:
        image_size: Int or (height, width), in pixels.
        **overrides: Any argument of `BarlowTwinsView`, for both views. `seed` gives each
            view draws of its own.

    Returns:
        (view_a, view_b), two `BarlowTwinsView` layers.

    Example:
        >>> view_a, view_b = paper_views(224)
        >>> view_a.blur_rate, view_b.blur_rate, view_b.solarize_rate
        (1.0, 0.1, 0.2)

    Source: facebookresearch/barlowtwins main.py@8e8d284, class Transform.
    """
    only_a, only_b = {"blur_rate": 1.0}, {"blur_rate": 0.1, "solarize_rate": 0.2}
    return two_views(image_size, only_a, only_b, **overrides)


def small_image_views(image_size, **overrides):
    """The usual pair for images of 32 pixels: the paper's without the blur.

    Args:
        image_size: Int or (height, width), in pixels.
        **overrides: Any argument of `BarlowTwinsView`, for both views. `seed` gives each
            view draws of its own.

    Returns:
        (view_a, view_b), two `BarlowTwinsView` layers.

    Example:
        >>> view_a, view_b = small_image_views(32, flip_rate=0.0)
        >>> view_a.blur_rate, view_b.flip_rate
        (0.0, 0.0)

    Source: vturrisi/solo-learn scripts/pretrain/cifar/barlow.yaml@9187ea3.
    """
    only_a, only_b = {"blur_rate": 0.0}, {"blur_rate": 0.0, "solarize_rate": 0.2}
    return two_views(image_size, only_a, only_b, **overrides)


def two_views(image_size, only_a, only_b, seed=None, **both):
    """A pair of views with draws of their own.

    Args:
        image_size: Int or (height, width), in pixels.
        only_a: Dict of arguments of `BarlowTwinsView` for view A.
        only_b: Dict of arguments for view B.
        seed: Int or None. Of the pair; each view gets one of its own from it.
        **both: Arguments for both views, which win over `only_a` and `only_b`.

    Returns:
        (view_a, view_b), two `BarlowTwinsView` layers.

    Example:
        >>> [view.seed for view in two_views(32, {}, {}, seed=3)]
        [6, 7]
    """
    seed_a, seed_b = (None, None) if seed is None else (2 * seed, 2 * seed + 1)
    return (
        BarlowTwinsView(image_size, **{"name": "view_a", "seed": seed_a, **only_a, **both}),
        BarlowTwinsView(image_size, **{"name": "view_b", "seed": seed_b, **only_b, **both}),
    )


def _as_tuple(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _height_and_width(image_size):
    sides = _as_tuple(image_size)
    sides = sides * 2 if len(sides) == 1 and not isinstance(image_size, (tuple, list)) else sides
    if len(sides) != 2 or not all(isinstance(side, numbers.Integral) for side in sides):
        raise ValueError(
            f"image_size must be an int or two, (height, width) in pixels, got {image_size!r}."
        )
    return tuple(int(side) for side in sides)


def _checked(images):
    images = ops.as_unit_range(images)
    rank = images.shape.rank
    if rank not in (3, 4) or images.shape[-1] != 3:
        raise ValueError(
            f"Images must be RGB, [batch, height, width, 3] or [height, width, 3], got "
            f"{images.shape}; tf.image.grayscale_to_rgb makes three channels of one."
        )
    if None in images.shape[-3:]:
        raise ValueError(
            f"A view needs images of a fixed height and width, got {images.shape}; resize them "
            "first."
        )
    return images


def _around(center, amount, uniform):
    return center + amount * (2.0 * uniform - 1.0)


def _ranks(keys):
    # Sorting random keys permutes; as comparisons it stays cheap under XLA.
    return tf.reduce_sum(tf.cast(keys[:, None, :] < keys[:, :, None], tf.int32), axis=-1)
