"""Settings of a classifier that SGD trains on an encoder, with the two published protocols."""

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_bt.config import rules

View = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """Settings of a linear classifier that SGD trains on an encoder.

    Args:
        epochs: At least 1. Each drops its last incomplete batch.
        least_steps: Least number of steps; with few images there are more epochs.
        batch_size: At least 1. Reduced to the number of training images.
        head_learning_rate: Of the classifier, in the first epoch.
        encoder_learning_rate: Of the encoder, in the first epoch. None freezes the encoder.
        momentum: In [0, 1).
        weight_decay: Of all trained variables, biases included.
        view: Augments batches of training images. None uses `crop_and_flip`.
        load_size: Side of the training images before `view`, in pixels. None uses
            `config.rules.load_size`.
        seed: Of the classifier, the order of the images and the augmentation.

    Raises:
        ValueError: If `epochs` or `batch_size` is below 1.

    Example:
        >>> SEMI_SUPERVISED_PROTOCOL.epochs_for(12_811), SEMI_SUPERVISED_PROTOCOL.epochs_for(512)
        (20, 500)
    """

    epochs: int
    least_steps: int = 0
    batch_size: int = 256
    head_learning_rate: float
    encoder_learning_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    view: View | None = None
    load_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")

    def batch_size_for(self, image_count: int) -> int:
        """The batch size for a number of training images."""
        return min(self.batch_size, image_count)

    def epochs_for(self, image_count: int) -> int:
        """The number of epochs for a number of training images."""
        steps_per_epoch = image_count // self.batch_size_for(image_count)
        return max(self.epochs, -(-self.least_steps // steps_per_epoch))

    def view_for(self, image_size: int) -> View:
        """The augmentation to images of a size in pixels."""
        return self.view or crop_and_flip(image_size, seed=self.seed)

    def load_size_for(self, image_size: int) -> int:
        """The side of the images that the augmentation takes, in pixels."""
        return self.load_size or rules.load_size(image_size)


# facebookresearch/barlowtwins evaluate.py@8e8d284, --weights freeze.
LINEAR_PROTOCOL = Protocol(epochs=100, head_learning_rate=0.3, weight_decay=1e-6)
# The same with --weights finetune, and the learning rates of its README. `least_steps` is ours: the
# number of steps that the published 1 % of ImageNet makes, 12,811 images in 20 epochs of 50.
SEMI_SUPERVISED_PROTOCOL = Protocol(
    epochs=20, least_steps=1000, head_learning_rate=0.5, encoder_learning_rate=0.005
)


def crop_and_flip(
    image_size: int,
    crop_area: tuple[float, float] = (0.08, 1.0),
    flip_rate: float = 0.5,
    seed: int = 0,
) -> keras.Layer:
    """Creates the augmentation of the protocols: a random crop, resized, and a random flip.

    Args:
        image_size: Side of the result, in pixels.
        crop_area: Lowest and highest fraction of the area of the image that is kept.
        flip_rate: Probability of a horizontal flip. Use 0 if a flip changes the class.
        seed: Of the crops and flips.

    Returns:
        A view with crop and flip only.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> crop_and_flip(8)(tf.zeros([2, 16, 16, 3], tf.uint8)).shape
        TensorShape([2, 8, 8, 3])

    Source: facebookresearch/barlowtwins evaluate.py@8e8d284, `train_dataset`.
    """
    from keras_bt.layers.views import BarlowTwinsView  # imports keras_cv, which takes seconds

    return BarlowTwinsView(
        image_size,
        crop_area=crop_area,
        interpolation="bilinear",
        flip_rate=flip_rate,
        jitter_rate=0.0,
        grayscale_rate=0.0,
        blur_rate=0.0,
        seed=seed,
    )
