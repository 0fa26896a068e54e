"""ResNet-18, -34, -50 and -101 as torchvision builds them."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from keras_bt.encoders.blocks import (
    InputShape,
    Normalization,
    add_stem,
    batch_norm,
    check_width,
    conv,
    normalize,
)


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
    check_width(width)
    inputs = keras.Input(input_shape)
    x = add_stem(normalize(inputs, normalization), width, stem)
    for stage, depth in enumerate(depths):
        for index in range(depth):
            stride = 2 if stage > 0 and index == 0 else 1
            x = block(x, width * 2**stage, stride, f"layer{stage + 1}_{index}")
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="avgpool")(x), name=name)


def _basic_block(x: Any, width: int, stride: int, name: str) -> Any:
    y = layers.ReLU(name=f"{name}_relu1")(
        batch_norm(conv(x, width, 3, stride, f"{name}_conv1"), f"{name}_bn1")
    )
    y = batch_norm(conv(y, width, 3, 1, f"{name}_conv2"), f"{name}_bn2", last_of_block=True)
    return _add_shortcut(x, y, stride, name)


def _bottleneck(x: Any, width: int, stride: int, name: str) -> Any:
    y = layers.ReLU(name=f"{name}_relu1")(
        batch_norm(conv(x, width, 1, 1, f"{name}_conv1"), f"{name}_bn1")
    )
    y = layers.ReLU(name=f"{name}_relu2")(
        batch_norm(conv(y, width, 3, stride, f"{name}_conv2"), f"{name}_bn2")
    )
    y = batch_norm(conv(y, 4 * width, 1, 1, f"{name}_conv3"), f"{name}_bn3", last_of_block=True)
    return _add_shortcut(x, y, stride, name)


def _add_shortcut(x: Any, y: Any, stride: int, name: str) -> Any:
    channels = y.shape[-1]
    if stride != 1 and x.shape[-1] < 8:
        # On CPUs without AVX-512, oneDNN's gradient of a 1x1 kernel with strides is wrong for 1 to
        # 5 channels, and it writes outside its memory (TensorFlow 2.21). So the stride comes first.
        x, stride = layers.MaxPooling2D(1, stride, name=f"{name}_downsample_stride")(x), 1
    if stride != 1 or x.shape[-1] != channels:
        x = conv(x, channels, 1, stride, f"{name}_downsample_0")
        x = batch_norm(x, f"{name}_downsample_1")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([y, x]))
