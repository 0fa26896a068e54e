"""ResNet-18, -34, -50 and -101 as torchvision builds them."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
from keras import layers

from keras_bt.layers.batch_norm import SyncBatchNormalization

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

InputShape = tuple[int | None, int | None, int]
Normalization = Literal["imagenet"] | tuple[Sequence[float], Sequence[float]] | None


def resnet18(
    input_shape: InputShape = (224, 224, 3),
    width: int = 64,
    stem: str = "imagenet",
    normalization: Normalization = "imagenet",
) -> keras.Model:
    """Builds a ResNet-18 encoder, from pixels in [0, 1] to pooled features.

    Args:
        input_shape: (height, width, channels); height and width may be None.
        width: Channels of the first stage; the last has 8 times as many.
        stem: "imagenet" (7x7 stride 2, max-pool) or "small" (3x3 stride 1, no pool).
        normalization: "imagenet", or (mean, std) with one number per channel, or None.

    Returns:
        Model from float [batch, height, width, channels] to [batch, 8 * width].

    Raises:
        ValueError: If an argument is not one of the above.

    Example:
        >>> resnet18((32, 32, 3), width=16, stem="small").output_shape
        (None, 128)

    Source: torchvision 0.29 models.resnet18(zero_init_residual=True), its layer names with
        "_" for ".". Differs from source: no classifier; the normalization is a layer.
    """
    return _resnet("resnet18", _basic_block, (2, 2, 2, 2), input_shape, width, stem, normalization)


def resnet34(
    input_shape: InputShape = (224, 224, 3),
    width: int = 64,
    stem: str = "imagenet",
    normalization: Normalization = "imagenet",
) -> keras.Model:
    """Builds a ResNet-34 encoder with [batch, 8 * width] features; see `resnet18`.

    Example:
        >>> resnet34((None, None, 3), width=8).output_shape
        (None, 64)
    """
    return _resnet("resnet34", _basic_block, (3, 4, 6, 3), input_shape, width, stem, normalization)


def resnet50(
    input_shape: InputShape = (224, 224, 3),
    width: int = 64,
    stem: str = "imagenet",
    normalization: Normalization = "imagenet",
) -> keras.Model:
    """Builds a ResNet-50 encoder, as in the paper, with [batch, 32 * width] features.

    See `resnet18` for the arguments.

    Example:
        >>> resnet50((64, 64, 3), width=4).output_shape
        (None, 128)
    """
    return _resnet("resnet50", _bottleneck, (3, 4, 6, 3), input_shape, width, stem, normalization)


def resnet101(
    input_shape: InputShape = (224, 224, 3),
    width: int = 64,
    stem: str = "imagenet",
    normalization: Normalization = "imagenet",
) -> keras.Model:
    """Builds a ResNet-101 encoder with [batch, 32 * width] features; see `resnet18`.

    Example:
        >>> resnet101((64, 64, 3), width=4).output_shape
        (None, 128)
    """
    return _resnet("resnet101", _bottleneck, (3, 4, 23, 3), input_shape, width, stem, normalization)


def _resnet(
    name: str,
    block: Callable[[Any, int, int, str], Any],
    depths: tuple[int, ...],
    input_shape: InputShape,
    width: int,
    stem: str,
    normalization: Normalization,
) -> keras.Model:
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}.")
    inputs = keras.Input(input_shape)
    x = _normalize(inputs, normalization)
    if stem == "imagenet":
        x = _batch_norm(_conv(x, width, 7, 2, "conv1"), "bn1")
        x = layers.ReLU(name="relu")(x)
        # After a ReLU, padding with zeros gives the same maximum as torchvision's -infinity.
        x = layers.ZeroPadding2D(1, name="maxpool_pad")(x)
        x = layers.MaxPooling2D(3, 2, name="maxpool")(x)
    elif stem == "small":
        x = _batch_norm(_conv(x, width, 3, 1, "conv1"), "bn1")
        x = layers.ReLU(name="relu")(x)
    else:
        raise ValueError(f"stem must be 'imagenet' or 'small', got {stem!r}.")
    for stage, depth in enumerate(depths):
        for index in range(depth):
            stride = 2 if stage > 0 and index == 0 else 1
            x = block(x, width * 2**stage, stride, f"layer{stage + 1}_{index}")
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="avgpool")(x), name=name)


def _basic_block(x: Any, width: int, stride: int, name: str) -> Any:
    y = layers.ReLU(name=f"{name}_relu1")(
        _batch_norm(_conv(x, width, 3, stride, f"{name}_conv1"), f"{name}_bn1")
    )
    y = _batch_norm(_conv(y, width, 3, 1, f"{name}_conv2"), f"{name}_bn2", last_of_block=True)
    return _add_shortcut(x, y, stride, name)


def _bottleneck(x: Any, width: int, stride: int, name: str) -> Any:
    y = layers.ReLU(name=f"{name}_relu1")(
        _batch_norm(_conv(x, width, 1, 1, f"{name}_conv1"), f"{name}_bn1")
    )
    y = layers.ReLU(name=f"{name}_relu2")(
        _batch_norm(_conv(y, width, 3, stride, f"{name}_conv2"), f"{name}_bn2")
    )
    y = _batch_norm(_conv(y, 4 * width, 1, 1, f"{name}_conv3"), f"{name}_bn3", last_of_block=True)
    return _add_shortcut(x, y, stride, name)


def _add_shortcut(x: Any, y: Any, stride: int, name: str) -> Any:
    channels = y.shape[-1]
    if stride != 1 and x.shape[-1] < 8:
        # On CPUs without AVX-512, oneDNN's gradient of a 1x1 kernel with strides is wrong for 1 to
        # 5 channels, and it writes outside its memory (TensorFlow 2.21). So the stride comes first.
        x, stride = layers.MaxPooling2D(1, stride, name=f"{name}_downsample_stride")(x), 1
    if stride != 1 or x.shape[-1] != channels:
        x = _conv(x, channels, 1, stride, f"{name}_downsample_0")
        x = _batch_norm(x, f"{name}_downsample_1")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([y, x]))


def _normalize(x: Any, normalization: Normalization) -> Any:
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


def _conv(x: Any, channels: int, kernel_size: int, stride: int, name: str) -> Any:
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


def _batch_norm(x: Any, name: str, last_of_block: bool = False) -> Any:
    # Every block starts as the identity: zero_init_residual of the official encoder.
    gamma = "zeros" if last_of_block else "ones"
    return SyncBatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=gamma, name=name)(x)
