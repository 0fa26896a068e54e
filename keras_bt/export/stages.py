"""The feature maps inside an encoder: the last one of each resolution."""

import math

import keras
import tensorflow as tf

from keras_bt._support.compat import nodes_in_order
from keras_bt.export.forward import functional_of, input_shape_of

PROBE_SIDE = 256  # of images in encoders that take any; all strides of common encoders divide it


def stages(encoder):
    """The last feature map of each resolution, as detectors and probes of layers want them.

    Args:
        encoder: `keras.Model` from images to features.

    Returns:
        Dict from "stride_1", "stride_2", "stride_4", ... to Keras tensors [batch, height, width,
        channels], the images' side being that many times the map's; empty if the encoder is
        not of the functional kind, whose layers Keras knows.

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
        here = 2 ** round(math.log2(sides[0] / shape[1]))
        exactly = tuple(shape[1:3]) == tuple(math.ceil(side / here) for side in sides)
        # Maps grow again where a border is added for the convolution after.
        if exactly and here >= stride:
            found[f"stride_{here}"], stride = map_, here
    return found


def _maps(functional):
    """Outputs of the layers in their order, from the first with weights on, that are maps."""
    maps, learned = [], False
    for node in nodes_in_order(functional):
        learned = learned or bool(getattr(node.operation, "weights", ()))
        outputs = node.output_tensors if learned else []
        maps += [output for output in outputs if len(output.shape) == 4]
    return maps


def _shapes(functional, maps, sides):
    model = keras.Model(functional.inputs, maps)
    spec = tf.TensorSpec([1, *sides, functional.inputs[0].shape[-1]])
    outputs = tf.function(lambda images: model(images, training=False), autograph=False)
    return [output.shape for output in outputs.get_concrete_function(spec).outputs]
