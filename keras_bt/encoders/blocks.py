"""What all encoders begin with (normalization, stem) and are made of (convolution, batch norm)."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import layers

from keras_bt.layers.batch_norm import SyncBatchNormalization

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

InputShape = tuple[int | None, int | None, int]
Normalization = Literal["imagenet"] | tuple[Sequence[float], Sequence[float]] | None


def check_width(width: int) -> None:
    """Rejects a width below 1.

    Raises:
        ValueError: If it is.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}.")


def normalize(x: Any, normalization: Normalization) -> Any:
    """Subtracts a mean and divides by a deviation, per channel; see `resnet18`."""
    if normalization is None:
        return x
    mean, std = (
        (IMAGENET_MEAN, IMAGENET_STD) if normalization == "imagenet" else map(tuple, normalization)
    )
    if not len(mean) == len(std) == x.shape[-1]:
        raise ValueError(
            f"normalization has {len(mean)} means and {len(std)} standard deviations, but images "
            f"have {x.shape[-1]} channels."
        )
    scale = [1.0 / s for s in std]
    offset = [-m / s for m, s in zip(mean, std, strict=True)]
    return layers.Rescaling(scale, offset, name="normalization")(x)


def add_stem(x: Any, width: int, stem: str) -> Any:
    """The first layers of an encoder, with `width` channels; see `resnet18`."""
    if stem == "imagenet":
        x = batch_norm(conv(x, width, 7, 2, "conv1"), "bn1")
        x = layers.ReLU(name="relu")(x)
        # After a ReLU, padding with zeros gives the same maximum as torchvision's -infinity.
        x = layers.ZeroPadding2D(1, name="maxpool_pad")(x)
        return layers.MaxPooling2D(3, 2, name="maxpool")(x)
    if stem == "small":
        x = batch_norm(conv(x, width, 3, 1, "conv1"), "bn1")
        return layers.ReLU(name="relu")(x)
    raise ValueError(f"stem must be 'imagenet' or 'small', got {stem!r}.")


def conv(x: Any, channels: int, kernel_size: int, stride: int, name: str) -> Any:
    """A convolution without bias, padded and initialized as torchvision's."""
    padding = "same"
    if stride > 1 and kernel_size > 1:
        # With strides, Keras pads only the far side; torchvision pads both.
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    return layers.Conv2D(
        channels,
        kernel_size,
        stride,
        padding,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, mode="fan_out", distribution="untruncated_normal"
        ),
        name=name,
    )(x)


def batch_norm(x: Any, name: str, last_of_block: bool = False) -> Any:
    """Batch norm over all replicas; the last of a residual block starts with gamma 0."""
    # Every block starts as the identity: zero_init_residual of the official encoder.
    gamma = "zeros" if last_of_block else "ones"
    return SyncBatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=gamma, name=name)(x)
