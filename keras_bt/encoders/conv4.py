"""Conv-4: an encoder of four convolutions, for short trainings on few processor cores."""

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


def conv4(
    input_shape: InputShape = (32, 32, 3),
    width: int = 32,
    stem: str = "small",
    normalization: Normalization = "imagenet",
) -> keras.Model:
    """Builds a Conv-4 encoder, from pixels in [0, 1] to pooled features.

        stem, then three times:  3x3 convolution to twice the channels, 2x2 max-pooling, BN, ReLU

    For minutes of training on few processor cores.

    Args:
        input_shape: (height, width, channels); height and width may be None.
        width: Channels of the stem; the features are 8 times as many.
        stem: See `resnet18`.
        normalization: See `resnet18`.

    Returns:
        Model from float [batch, height, width, channels] to [batch, 8 * width].

    Raises:
        ValueError: If an argument is not one of the above.

    Example:
        >>> conv4((32, 32, 3), width=16).output_shape
        (None, 128)

    Source: the embedding of arXiv 1606.04080, section 4.1; pooling before batch norm as in
        KellerJordan/cifar10-airbench.
    Differs from source: the channels double, the first convolution is a stem without pooling,
        and the last map is averaged.
    """
    check_width(width)
    inputs = keras.Input(input_shape)
    x = add_stem(normalize(inputs, normalization), width, stem)
    for stage in (1, 2, 3):
        x = conv(x, width * 2**stage, 3, 1, f"stage{stage}_conv")
        # ReLU and BN after pooling see a quarter of the values. "same": maps of one pixel too.
        x = layers.MaxPooling2D(2, padding="same", name=f"stage{stage}_pool")(x)
        x = layers.ReLU(name=f"stage{stage}_relu")(batch_norm(x, f"stage{stage}_bn"))
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="avgpool")(x), name="conv4")
