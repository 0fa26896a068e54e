"""Exports an encoder as a reusable SavedModel of TF Hub.

`keras.Model.export` (Keras 3.15) is not enough: its root cannot be called, has no `training`
argument and no regularization losses, and stores every weight twice.
"""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_bt._support import atomic, compat
from keras_bt._support.literal_paths import check_utf8, literal
from keras_bt.export.description import write_description
from keras_bt.export.forward import (
    check_same,
    checked_images,
    forward,
    functional_of,
    image_size_of,
    input_shape_of,
    probe_images,
)
from keras_bt.export.image_bytes import images_from_bytes
from keras_bt.export.stages import stages
from keras_bt.functional.framing import check_framing


def export_encoder(
    encoder: keras.Model,
    path: str | PathLike[str],
    *,
    image_size: int | None = None,
    framing: str = "square",
    metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> str:
    """Writes the encoder as a reusable SavedModel, an "image feature vector" of TF Hub.

        module = tensorflow_hub.load(path)         # needs neither Keras nor keras_bt
        features = module(images)                  # float32 RGB in [0, 1], NHWC
        features = module(images, training=True)   # batch statistics, for fine-tuning

    | signature | from | to |
    |---|---|---|
    | serving_default | inputs: float32 images | features |
    | serving_encoded | image_bytes: JPEG, PNG, WebP, BMP, GIF of any size   | features |
    | endpoints | inputs | features, and the maps stride_1, stride_2, ... of `stages` |

    The folder is written under a temporary name, loaded again and compared with the encoder. Then
    it is renamed to `path`. Its metadata, assets.extra/encoder.json, has checksums of all other
    files, which `load_encoder` verifies. Its README.md is a model card, which may be edited.

    Args:
        encoder: Model from float [batch, height, width, channels] in [0, 1] to
            [batch, features].
        path: Folder to write.
        image_size: Height and width, in pixels, to which serving_encoded resizes images; None
            for the encoder's own. Without a size, or with other than 3 channels, there is no
            serving_encoded.
        framing: How serving_encoded, features of folders and evaluations make squares of images:
            "whole" and "square" take the central square, "pad" adds gray bars, "stretch" changes
            the proportion; see `data.Images.framed`.
        metadata: Stored as JSON in the metadata and shown in the model card; for example the
            result.json of a run.
        overwrite: Whether an existing folder may be replaced.

    Returns:
        The absolute path.

    Raises:
        FileExistsError: If `path` exists and `overwrite` is false.
        ValueError: If the encoder is not built, does not return [batch, features], or takes
            images of another size than `image_size`. Also if `framing` is unknown, or `path` is
            not UTF-8.
        OSError: If the folder cannot be written. The message names the space needed.
        RuntimeError: If called inside a strategy's scope, or if the reloaded SavedModel
            returns other features.

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
    check_framing(framing)
    check_utf8(target)
    if target.exists() and not (overwrite and target.is_dir()):
        if overwrite:
            raise FileExistsError(f"{target} is a file; overwrite=True replaces folders only.")
        raise FileExistsError(f"{target} exists; pass overwrite=True to replace it.")
    if tf.distribute.has_strategy():
        raise RuntimeError("export_encoder must be called outside strategy.scope().")
    height, width = input_shape_of(encoder)[1:3]
    if image_size is not None or (height and height == width):
        image_size = image_size_of(encoder, image_size)
    module, signatures = _reusable_module(encoder, image_size, framing)

    with atomic.replacing(target, 4 * encoder.count_params()) as temporary:
        tf.saved_model.save(module, str(temporary), signatures=signatures)
        write_description(temporary, encoder, image_size, framing, signatures, metadata)
        _check_reloaded(temporary, encoder, image_size)
    return str(target)


def _reusable_module(
    encoder: keras.Model, image_size: int | None, framing: str
) -> tuple[Any, dict[str, Callable]]:
    """The object to save, and its signatures by name."""
    spec = tf.TensorSpec(input_shape_of(encoder), tf.float32, name="inputs")

    module = compat.trackable()
    call = tf.function(
        lambda inputs, training=False: forward(encoder, checked_images(encoder, inputs), training),
        autograph=False,
    )
    for training in ({}, {"training": False}, {"training": True}):
        call.get_concrete_function(spec, **training)
    module.__call__ = call
    # The tf.Variables inside Keras's variables: with Keras's, every weight is written twice.
    module.variables = [variable.value for variable in encoder.variables]
    module.trainable_variables = [variable.value for variable in encoder.trainable_variables]
    module.regularization_losses = [
        _regularization(variable)
        for variable in encoder.trainable_variables
        if variable.regularizer
    ]

    return module, _signatures(encoder, call, spec, image_size, framing)


def _signatures(
    encoder: keras.Model,
    call: Callable,
    spec: tf.TensorSpec,
    image_size: int | None,
    framing: str,
) -> dict[str, Callable]:
    def default(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"features": call(inputs, training=False)}

    signatures = {
        "serving_default": _trace(default, spec),
        "endpoints": _trace(_endpoints(encoder) or default, spec),
    }
    if image_size and spec.shape[-1] == 3:

        def from_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            return default(images_from_bytes(image_bytes, image_size, framing))

        encoded = tf.TensorSpec([None], tf.string, name="image_bytes")
        signatures["serving_encoded"] = _trace(from_bytes, encoded)
    return signatures


def _endpoints(encoder: keras.Model) -> Callable | None:
    """A function from images to maps and features; None if the encoder is not functional."""
    functional, maps = functional_of(encoder), stages(encoder)
    if functional is None or not maps:
        return None
    model = keras.Model(functional.inputs, {**maps, "features": functional.outputs[0]})

    def endpoints(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = model(checked_images(encoder, inputs), training=False)
        return {name: tf.cast(output, tf.float32) for name, output in outputs.items()}

    return endpoints


def _trace(function: Callable, spec: tf.TensorSpec) -> Callable:
    return tf.function(function, [spec], autograph=False).get_concrete_function()


def _regularization(variable: keras.Variable) -> Callable:
    return tf.function(
        lambda: tf.cast(variable.regularizer(variable.value), tf.float32),
        input_signature=[],
        autograph=False,
    )


def _check_reloaded(folder: Path, encoder: keras.Model, image_size: int | None) -> None:
    with literal(folder) as readable:
        reloaded = tf.saved_model.load(str(readable))
    images = probe_images(encoder)
    check_same(reloaded(images), forward(encoder, images), "The exported encoder")
    if "serving_encoded" in reloaded.signatures:
        pixels = tf.random.stateless_uniform([image_size, image_size, 3], [0, 2], 0, 256, tf.int32)
        png = tf.io.encode_png(tf.cast(pixels, tf.uint8))
        features = reloaded.signatures["serving_encoded"](image_bytes=png[tf.newaxis])["features"]
        expected = forward(encoder, tf.cast(pixels[tf.newaxis], tf.float32) / 255.0)
        check_same(features, expected, "The signature serving_encoded")
