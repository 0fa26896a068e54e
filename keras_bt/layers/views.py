"""Random views of images: `BarlowTwinsView`, a keras-cv layer."""

import numbers
from collections.abc import Sequence
from math import inf
from typing import Any

import keras
import tensorflow as tf
from keras_cv.layers import VectorizedBaseImageAugmentationLayer

from keras_bt.distribution.collectives import first_row
from keras_bt.functional.blur import apply_to_chosen, gaussian_blur
from keras_bt.functional.color import color_jitter, grayscale, solarize
from keras_bt.functional.crop import (
    CROP_UNIFORMS,
    apply_separable,
    random_crop_boxes,
    resize_weights,
    squash_boxes,
)
from keras_bt.functional.image import as_unit_range
from keras_bt.layers.random import add_seed_and_calls, uniform_draws

FRACTIONS = (  # arguments in [0, 1]
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
CONFIG_FIELDS = (
    "image_size",
    "crop_area",
    "aspect_ratio",
    "interpolation",
    "hue",
    "blur_sigma",
    "seed",
    *FRACTIONS,
)
NOT_CROPPED = {"bounding_boxes", "keypoints", "segmentation_masks"}  # keys of keras-cv

ImageSize = int | tuple[int, int]


@keras.saving.register_keras_serializable(package="keras_bt")
class BarlowTwinsView(VectorizedBaseImageAugmentationLayer):
    """One random view of each image of a batch.

    Crops and resizes, mirrors, jitters the color, drops the color, blurs and solarizes, in this
    order. Each image has draws of its own, and the whole batch is computed at once. The draws
    depend on three things: `seed`, the number of calls so far, and the image's index in the
    global batch. They are the same eagerly, in `tf.data`, in `tf.function` and under XLA, and on
    any number of replicas. A reloaded layer continues its draws. Parallel calls (`dataset.map`
    with `num_parallel_calls`) are counted in any order.

    Images of different shapes may come squashed to one size, with their true heights and widths
    under the key "sizes". A crop is then drawn in the true image, and its view is not squashed.

    Args:
        image_size: Size or (height, width) of the view, in pixels.
        crop_area: (low, high). Fraction of the image's area that the crop keeps.
        aspect_ratio: (low, high). Width / height of the crop, log-uniform.
        interpolation: "bicubic" or "bilinear", antialiased.
        flip_rate: Probability of a left-right mirror image.
        jitter_rate: Probability of the color jitter. Its four parts have a random order.
        brightness: Factor drawn from [1 - brightness, 1 + brightness].
        contrast: Factor drawn from [1 - contrast, 1 + contrast].
        saturation: Factor drawn from [1 - saturation, 1 + saturation].
        hue: Shift drawn from [-hue, hue], in turns of the color circle.
        grayscale_rate: Probability of dropping the color.
        blur_rate: Probability of a Gaussian blur.
        blur_sigma: (low, high). Standard deviation of the blur, in pixels of the view.
        solarize_rate: Probability of inverting the bright pixels.
        solarize_threshold: Lowest pixel value to invert, in [0, 1].
        seed: None draws one from Python's `random`, as Keras does.
        **kwargs: `name` and `dtype` of `keras.layers.Layer`; `dtype` is float32 by default.

    Call arguments:
        inputs: uint8 in 0...255 or floating point in [0, 1], [batch, height, width, 3] or
            [height, width, 3]; or a dict with these under the key "images", and perhaps
            "sizes": int [batch, 2] or [2], the true height and width of squashed images.

    Returns:
        Float tensor [batch, *image_size, 3] (or unbatched) in [0, 1]; from a dict, a dict with
        it under the key "images", without "sizes".

    Raises:
        ValueError: If an argument is out of range, or images are not RGB in range.

    Example:
        >>> view = BarlowTwinsView(image_size=8, seed=0)
        >>> view(tf.zeros([2, 16, 16, 3], tf.uint8)).shape
        TensorShape([2, 8, 8, 3])

    Source: arXiv 2103.03230, section 2.2; facebookresearch/barlowtwins main.py@8e8d284.
    Differs from source: does not round pixels to uint8 between the steps; a true Gaussian
        blur.
    """

    takes_sizes = True

    def __init__(
        self,
        image_size: ImageSize,
        crop_area: tuple[float, float] = (0.08, 1.0),
        aspect_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = "bicubic",
        flip_rate: float = 0.5,
        jitter_rate: float = 0.8,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.2,
        hue: float = 0.1,
        grayscale_rate: float = 0.2,
        blur_rate: float = 1.0,
        blur_sigma: tuple[float, float] = (0.1, 2.0),
        solarize_rate: float = 0.0,
        solarize_threshold: float = 0.5,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
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

    def call(self, inputs: tf.Tensor | dict[str, Any]) -> tf.Tensor | dict[str, Any]:
        if not isinstance(inputs, dict):
            return super().call(_checked(inputs))
        if not_cropped := sorted(NOT_CROPPED & inputs.keys()):
            raise NotImplementedError(f"A view crops images, but not their {not_cropped}.")
        inputs = {**inputs, "images": _checked(inputs["images"])}
        if "sizes" in inputs:
            inputs["sizes"] = _checked_sizes(inputs["sizes"], inputs["images"])
        return super().call(inputs)

    def _batch_augment(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Computes the views of a dict of batches."""
        if "sizes" not in inputs:
            return super()._batch_augment(inputs)
        # keras-cv 0.9 gives its own keys only to `get_random_transformation_batch`.
        others = {key: value for key, value in inputs.items() if key not in ("images", "sizes")}
        images = inputs["images"]
        transformations = self.get_random_transformation_batch(
            tf.shape(images)[0], images, inputs["sizes"]
        )
        return {**others, "images": self.augment_images(images, transformations)}

    def get_random_transformation_batch(
        self,
        batch_size: tf.Tensor,
        images: tf.Tensor,
        sizes: tf.Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        rows = batch_size if images.shape[0] is None else images.shape[0]
        uniform = uniform_draws(
            self.seed_and_calls, rows, CROP_UNIFORMS + 14, first_row=first_row(rows)
        )
        box, mirror, jitter, order, rates = tf.split(uniform, [CROP_UNIFORMS, 1, 5, 4, 4], axis=1)
        gray_draw, blur_draw, sigma_draw, solarize_draw = tf.unstack(rates, axis=1)
        jittered = jitter[:, 4] < self.jitter_rate
        low, high = self.blur_sigma
        return {
            "box": self._boxes(box, images, sizes),
            "mirrored": mirror[:, 0] < self.flip_rate,
            "brightness": tf.where(jittered, _around(1.0, self.brightness, jitter[:, 0]), 1.0),
            "contrast": tf.where(jittered, _around(1.0, self.contrast, jitter[:, 1]), 1.0),
            "saturation": tf.where(jittered, _around(1.0, self.saturation, jitter[:, 2]), 1.0),
            "hue": tf.where(jittered, _around(0.0, self.hue, jitter[:, 3]), 0.0),
            "order": _ranks(order),
            "gray": gray_draw < self.grayscale_rate,
            "sigma": tf.where(blur_draw < self.blur_rate, low + (high - low) * sigma_draw, 0.0),
            "solarized": solarize_draw < self.solarize_rate,
        }

    def augment_images(
        self, images: tf.Tensor, transformations: dict[str, Any], **kwargs: Any
    ) -> tf.Tensor:
        height, width = images.shape[1:3]
        t = transformations
        out_height, out_width = self.image_size
        top, left, box_height, box_width = t["box"]
        method = self.interpolation

        x = tf.transpose(tf.cast(images, tf.float32), [0, 3, 1, 2])
        rows = resize_weights(top, box_height, height, out_height, method=method)
        columns = resize_weights(
            left, box_width, width, out_width, flip=t["mirrored"], method=method
        )
        x = tf.clip_by_value(apply_separable(x, rows, columns), 0.0, 1.0)

        if self.jitter_rate:
            hue = t["hue"] if self.hue else None
            x = color_jitter(x, t["brightness"], t["contrast"], t["saturation"], hue, t["order"])
        if self.grayscale_rate:
            x = tf.where(t["gray"][:, None, None, None], grayscale(x), x)
        if self.blur_rate:
            x = tf.minimum(self._blurred(x, t["sigma"]), 1.0)  # white may round to above 1
        if self.solarize_rate:
            solarized = solarize(x, self.solarize_threshold)
            x = tf.where(t["solarized"][:, None, None, None], solarized, x)
        return tf.cast(tf.transpose(x, [0, 2, 3, 1]), self.compute_dtype)

    def _boxes(
        self, uniform: tf.Tensor, images: tf.Tensor, sizes: tf.Tensor | None
    ) -> Sequence[tf.Tensor]:
        """The crops, in pixels of the images as they are."""
        height, width = images.shape[1:3]
        if sizes is None:
            return random_crop_boxes(uniform, height, width, self.crop_area, self.aspect_ratio)
        true_height, true_width = tf.unstack(sizes, axis=1)
        boxes = random_crop_boxes(
            uniform, true_height, true_width, self.crop_area, self.aspect_ratio
        )
        return squash_boxes(boxes, true_height, true_width, height, width)

    def _blurred(self, images: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
        """Blurs all images, or only the chosen ones if they are few."""
        max_sigma = self.blur_sigma[1]
        if self.blur_rate > 0.5:
            return gaussian_blur(images, sigma, max_sigma)

        def blur(images: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
            return gaussian_blur(images, tf.gather(sigma, indices), max_sigma)

        return apply_to_chosen(blur, images, sigma > 0.0)

    def augment_labels(
        self, labels: tf.Tensor, transformations: dict[str, Any], **kwargs: Any
    ) -> tf.Tensor:
        return labels

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (*input_shape[:-3], *self.image_size, 3)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in CONFIG_FIELDS}}

    def _check_arguments(self) -> None:
        """Rejects arguments out of range."""
        if min(self.image_size) < 1:
            raise ValueError(f"image_size must be at least 1 pixel, got {self.image_size}.")
        if self.interpolation not in ("bicubic", "bilinear"):
            raise ValueError(
                f"interpolation must be 'bicubic' or 'bilinear', got {self.interpolation!r}."
            )
        for name in FRACTIONS:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}.")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue must lie in [0, 0.5] turns, got {self.hue}.")
        for name, largest in (("crop_area", 1), ("aspect_ratio", inf), ("blur_sigma", inf)):
            if len(getattr(self, name)) != 2:
                raise ValueError(f"{name} must be (low, high), got {getattr(self, name)}.")
            low, high = getattr(self, name)
            if not 0 < low <= high <= largest:
                raise ValueError(
                    f"{name} must be (low, high) with 0 < low <= high <= {largest}, "
                    f"got {(low, high)}."
                )


def _as_tuple(value: Any) -> tuple[Any, ...]:
    """A tuple or list as a tuple, anything else as a tuple of one."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _height_and_width(image_size: Any) -> tuple[int, ...]:
    """Height and width from one size or two."""
    sides = image_size if isinstance(image_size, (tuple, list)) else (image_size, image_size)
    if len(sides) != 2 or not all(isinstance(side, numbers.Integral) for side in sides):
        raise ValueError(
            f"image_size must be an int or two, (height, width) in pixels, got {image_size!r}."
        )
    return tuple(int(side) for side in sides)


def _checked(images: tf.Tensor) -> tf.Tensor:
    """Images in [0, 1]; rejects those that are not RGB or have no fixed size."""
    images = as_unit_range(images)
    if images.shape.rank not in (3, 4) or images.shape[-1] != 3:
        raise ValueError(
            "Images must be RGB, [batch, height, width, 3] or [height, width, 3], got "
            f"{images.shape}. Convert gray images with tf.image.grayscale_to_rgb."
        )
    if None in images.shape[-3:]:
        raise ValueError(
            f"Images must have a fixed height and width, got {images.shape}. Resize them before "
            "the view."
        )
    return images


def _checked_sizes(sizes: Any, images: tf.Tensor) -> tf.Tensor:
    """True sizes; rejects those that are no height and width of each image."""
    sizes = tf.convert_to_tensor(sizes)
    # Keras would round floating point sizes to a view's 16 bits.
    rank = images.shape.rank - 2
    if sizes.shape.rank != rank or sizes.shape[-1] != 2 or not sizes.dtype.is_integer:
        raise ValueError(
            "Sizes must be the true height and width of each image, integers [batch, 2], got "
            f"{sizes.dtype.name} {sizes.shape} for images {images.shape}."
        )
    return sizes


def _around(center: float, amount: float, uniform: tf.Tensor) -> tf.Tensor:
    """Maps draws from [0, 1) to [center - amount, center + amount)."""
    return center + amount * (2.0 * uniform - 1.0)


def _ranks(keys: tf.Tensor) -> tf.Tensor:
    """A random permutation per row, as the ranks of its random keys."""
    # Comparisons instead of a sort, which is slow under XLA.
    return tf.reduce_sum(tf.cast(keys[:, None, :] < keys[:, :, None], tf.int32), axis=-1)
