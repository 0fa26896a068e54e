"""Finds the last feature map of each resolution inside an encoder."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_bt._support.compat import Functional, nodes_in_order
from keras_bt.export.forward import functional_of, input_shape_of

# Pixels, if the encoder takes images of any size. The strides of common encoders divide it.
PROBE_SIDE = 256


def stages(encoder: keras.Model) -> dict[str, keras.KerasTensor]:
    """Returns the last feature map of each resolution, for detectors and probes of layers.

    Args:
        encoder: Model from images to features.

    Returns:
        "stride_1", "stride_2", "stride_4", ...: tensors [batch, height, width, channels]. The
        stride is the size of the images divided by the size of the map. Empty if the encoder is
        not functional.

    Example:
        >>> import keras_bt
        >>> encoder = keras_bt.resnet18((32, 32, 3), width=4)
        >>> {name: maps.shape[1:] for name, maps in stages(encoder).items()}
        {'stride_2': (16, 16, 4), 'stride_4': (8, 8, 4), 'stride_8': (4, 4, 8), ...}
    """
    functional = functional_of(encoder)
    maps = _maps(functional) if functional else []
    if not maps:
        return {}
    sides = [side or PROBE_SIDE for side in input_shape_of(encoder)[1:3]]
    found, stride = {}, 0
    for map_, shape in zip(maps, _shapes(functional, maps, sides), strict=True):
        map_stride = 2 ** round(math.log2(sides[0] / shape[1]))
        exact = tuple(shape[1:3]) == tuple(math.ceil(side / map_stride) for side in sides)
        # Padding before a convolution makes maps larger again; those are skipped.
        if exact and map_stride >= stride:
            found[f"stride_{map_stride}"], stride = map_, map_stride
    return found


def _maps(functional: Functional) -> list[keras.KerasTensor]:
    """Outputs of rank 4, in the order of the layers, from the first layer with weights on."""
    maps, has_weights = [], False
    for node in nodes_in_order(functional):
        has_weights = has_weights or bool(getattr(node.operation, "weights", ()))
        outputs = node.output_tensors if has_weights else []
        maps += [output for output in outputs if len(output.shape) == 4]
    return maps


def _shapes(
    functional: Functional, maps: Sequence[keras.KerasTensor], sides: Sequence[int]
) -> list[Any]:
    """Shapes of the maps for images of these sides."""
    model = keras.Model(functional.inputs, maps)
    spec = tf.TensorSpec([1, *sides, functional.inputs[0].shape[-1]])
    outputs = tf.function(lambda images: model(images, training=False), autograph=False)
    return [output.shape for output in outputs.get_concrete_function(spec).outputs]
