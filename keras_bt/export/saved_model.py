"""The encoder as a TF Hub style SavedModel.

`keras.Model.export` will not do: its root cannot be called, has no `training` switch and
no regularization losses, and stores every weight twice.
"""

from pathlib import Path

import keras
import tensorflow as tf

from keras_bt._support import atomic, compat
from keras_bt.export.description import describe
from keras_bt.export.forward import (
    check_same,
    checked,
    forward,
    functional_of,
    image_size_of,
    input_shape_of,
    probe_images,
)
from keras_bt.export.image_bytes import images_from_bytes
from keras_bt.export.stages import stages


def export_encoder(encoder, path, *, image_size=None, metadata=None, overwrite=False):
    """Writes the encoder as a reusable SavedModel of TF Hub's image feature vector kind.

        module = tensorflow_hub.load(path)         # needs neither Keras nor keras_bt
        features = module(images)                  # float32 RGB in [0, 1], NHWC
        features = module(images, training=True)   # batch statistics, for fine-tuning

    | signature | from | to |
    |---|---|---|
    | serving_default | inputs: float32 images | features |
    | serving_encoded | image_bytes: JPEG, PNG, BMP or GIF files of any size | features |
    | endpoints | inputs | features, and the maps stride_1, stride_2, ... of `stages` |

    The folder appears whole or not at all: it is written beside `path`, loaded again and
    compared with the encoder, and only then renamed. Its description holds checksums of all
    other files, by which `load_encoder` knows damage; its README.md is a model card, to edit.

    Args:
        encoder: `keras.Model`, float [batch, height, width, channels] in [0, 1] to
            [batch, features].
        path: Folder to write.
        image_size: Int. Side to which serving_encoded brings images, in pixels; None for the
            encoder's own. Without either there is no serving_encoded, nor for other than 3
            channels.
        metadata: Dict that JSON can hold, as result.json of a run, for assets.extra/encoder.json
            and the model card.
        overwrite: Bool. Whether an existing `path` may be replaced.

    Returns:
        The path, a string.

    Raises:
        FileExistsError: If `path` exists and `overwrite` is false.
        ValueError: If the encoder is not built, does not return [batch, features], or takes
            images of another size than `image_size`.
        OSError: If it cannot be written, saying how much room is needed.
        RuntimeError: If called inside a strategy's scope, or if the reloaded SavedModel
            disagrees with the encoder.

    Example:
        >>> import keras_bt
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> encoder = keras_bt.resnet18((8, 8, 3), width=1, stem="small")
        >>> path = export_encoder(encoder, folder + "/encoder")
        >>> tf.saved_model.load(path)(tf.zeros([3, 8, 8, 3])).shape
        TensorShape([3, 8])

    Source: tensorflow/hub docs/reusable_saved_models.md and
        docs/common_saved_model_apis/images.md.
    """
    target = Path(path).expanduser().absolute()
    if target.exists() and not (overwrite and target.is_dir()):
        if overwrite:
            raise FileExistsError(f"{target} is a file, not a folder that could be replaced.")
        raise FileExistsError(f"{target} exists; pass overwrite=True to replace it.")
    if tf.distribute.has_strategy():
        raise RuntimeError("export_encoder has to be called outside strategy.scope().")
    height, width = input_shape_of(encoder)[1:3]
    if image_size is not None or (height and height == width):
        image_size = image_size_of(encoder, image_size)
    module, signatures = _reusable_module(encoder, image_size)

    with atomic.replacing(target, 4 * encoder.count_params()) as aside:
        tf.saved_model.save(module, str(aside), signatures=signatures)
        describe(aside, encoder, image_size, signatures, metadata)
        _check_reloaded(aside, encoder, image_size)
    return str(target)


def _reusable_module(encoder, image_size):
    """What is saved, and its signatures by name."""
    spec = tf.TensorSpec(input_shape_of(encoder), tf.float32, name="inputs")

    module = compat.trackable()
    call = tf.function(
        lambda inputs, training=False: forward(encoder, checked(encoder, inputs), training),
        autograph=False,
    )
    for training in ({}, {"training": False}, {"training": True}):
        call.get_concrete_function(spec, **training)
    module.__call__ = call
    # The tf.Variables behind Keras's: with Keras's every weight would be written twice.
    module.variables = [variable.value for variable in encoder.variables]
    module.trainable_variables = [variable.value for variable in encoder.trainable_variables]
    module.regularization_losses = [
        _regularization(variable)
        for variable in encoder.trainable_variables
        if variable.regularizer
    ]

    return module, _signatures(encoder, call, spec, image_size)


def _signatures(encoder, call, spec, image_size):
    def default(inputs):
        return {"features": call(inputs, training=False)}

    def of_bytes(image_bytes):
        return default(images_from_bytes(image_bytes, image_size))

    signatures = {
        "serving_default": _traced(default, spec),
        "endpoints": _traced(_endpoints(encoder) or default, spec),
    }
    if image_size and spec.shape[-1] == 3:
        encoded = tf.TensorSpec([None], tf.string, name="image_bytes")
        signatures["serving_encoded"] = _traced(of_bytes, encoded)
    return signatures


def _endpoints(encoder):
    """A function from images to maps and features; None for an encoder whose maps Keras hides."""
    maps, functional = stages(encoder), functional_of(encoder)
    if not maps:
        return None
    model = keras.Model(functional.inputs, {**maps, "features": functional.outputs[0]})

    def endpoints(inputs):
        outputs = model(checked(encoder, inputs), training=False)
        return {name: tf.cast(output, tf.float32) for name, output in outputs.items()}

    return endpoints


def _traced(function, spec):
    return tf.function(function, [spec], autograph=False).get_concrete_function()


def _regularization(variable):
    return tf.function(
        lambda: tf.cast(variable.regularizer(variable.value), tf.float32),
        input_signature=[],
        autograph=False,
    )


def _check_reloaded(folder, encoder, image_size):
    reloaded = tf.saved_model.load(str(folder))
    images = probe_images(encoder)
    check_same(reloaded(images), forward(encoder, images), "The exported encoder")
    if "serving_encoded" in reloaded.signatures:
        pixels = tf.random.stateless_uniform([image_size, image_size, 3], [0, 2], 0, 256, tf.int32)
        png = tf.io.encode_png(tf.cast(pixels, tf.uint8))
        features = reloaded.signatures["serving_encoded"](image_bytes=png[tf.newaxis])["features"]
        expected = forward(encoder, tf.cast(pixels[tf.newaxis], tf.float32) / 255.0)
        check_same(features, expected, "The exported encoder, given bytes,")
