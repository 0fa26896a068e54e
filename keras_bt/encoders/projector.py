"""The projector: dense layers from features to the embeddings of the loss."""

from collections.abc import Iterable

import keras
from keras import layers

from keras_bt.layers.batch_norm import SyncBatchNormalization


def projector(input_dim: int, dims: Iterable[int] = (8192, 8192, 8192)) -> keras.Model:
    """Builds the projector: dense layers without bias, all but the last with BN and ReLU.

    Args:
        input_dim: Number of the encoder's features.
        dims: Width of each layer; the last is the embedding's dim.

    Returns:
        Model from float [batch, input_dim] to [batch, dims[-1]].

    Raises:
        ValueError: If `dims` is empty or holds a width below 1.

    Example:
        >>> projector(128, dims=(256, 64)).output_shape
        (None, 64)

    Source: facebookresearch/barlowtwins main.py@8e8d284, `self.projector`.
    """
    dims = tuple(dims)
    if not dims or min(dims) < 1:
        raise ValueError(f"dims must hold one width of at least 1 per layer, got {dims}.")
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


def _torch_linear() -> keras.initializers.Initializer:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the default of PyTorch's Linear."""
    return keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")
