"""The projector: the head whose output the loss sees."""

import keras
from keras import layers

from keras_bt.layers.batch_norm import SyncBatchNormalization


def projector(input_dim, dims=(8192, 8192, 8192)):
    """The head whose output the loss sees: dense layers, all but the last with BN and ReLU.

    Args:
        input_dim: Int. Features of the encoder.
        dims: Ints. Width of each layer; the last is the embedding's dim.

    Returns:
        `keras.Model`, float [batch, input_dim] to [batch, dims[-1]].

    Raises:
        ValueError: If `dims` is empty or holds a width below 1.

    Example:
        >>> projector(128, dims=(256, 64)).output_shape
        (None, 64)

    Source: facebookresearch/barlowtwins main.py@8e8d284, `self.projector`: no bias anywhere.
    """
    dims = tuple(dims)
    if not dims or min(dims) < 1:
        raise ValueError(f"dims must hold one width (at least 1) a layer, got {dims}.")
    inputs = keras.Input((input_dim,))
    x = inputs
    for number, dim in enumerate(dims, start=1):
        x = layers.Dense(
            dim, use_bias=False, kernel_initializer=_torch_linear(), name=f"dense{number}"
        )(x)
        if number < len(dims):
            x = SyncBatchNormalization(momentum=0.9, epsilon=1e-5, name=f"bn{number}")(x)
            x = layers.ReLU(name=f"relu{number}")(x)
    return keras.Model(inputs, x, name="projector")


def _torch_linear():
    # U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the default of PyTorch's Linear.
    return keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")
