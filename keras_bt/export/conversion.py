"""Common steps of the exports to ONNX and LiteRT."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_bt._support import atomic
from keras_bt._support.compat import flatten_layers
from keras_bt.export.exported_encoder import ExportedEncoder
from keras_bt.export.forward import (
    TOLERANCE,
    check_same,
    forward,
    functional_of,
    input_shape_of,
    probe_images,
)

BATCH_SIZES = 1, 3


def prepare(
    encoder: keras.Layer, path: str | PathLike[str], suffix: str, overwrite: bool
) -> tuple[Path, keras.Layer, tf.types.experimental.PolymorphicFunction]:
    """Checks the arguments of an export, and compiles the encoder as a function of images.

    Args:
        encoder: Model or layer from images to features.
        path: Path of the file to write.
        suffix: Suffix that the path must have.
        overwrite: Whether an existing file may be replaced.

    Returns:
        target: Absolute path of the file.
        encoder: The encoder, or a copy of it that computes in float32.
        function: `tf.function` from `inputs` to {"features"}, with a signature.

    Raises:
        FileExistsError: If the file exists and may not be replaced.
        ValueError: If the path has another suffix, or the encoder does not take images.
    """
    target = Path(path).expanduser().absolute()
    if target.suffix != suffix:
        raise ValueError(f"The file's name must end in {suffix}, got {target.name}.")
    if target.is_dir() or (target.exists() and not overwrite):
        raise FileExistsError(f"{target} exists; pass overwrite=True to replace a file.")
    spec = tf.TensorSpec(input_shape_of(encoder), tf.float32, name="inputs")
    encoder = in_float32(encoder)
    function = tf.function(
        lambda inputs: {"features": forward(encoder, inputs)}, [spec], autograph=False
    )
    return target, encoder, function


def check_and_write(
    target: Path,
    content: bytes,
    run: Callable[[np.ndarray], np.ndarray],
    encoder: keras.Layer,
    name: str,
    tolerance: float = TOLERANCE,
) -> str:
    """Writes a converted encoder after comparing its features with the encoder in memory.

    Args:
        target: Path of the file.
        content: Content of the file.
        run: Runs the converted encoder: float32 images to features.
        encoder: The encoder in memory.
        name: Name of the file in messages.
        tolerance: Largest allowed difference, relative to the largest feature.

    Returns:
        The path.

    Raises:
        OSError: If the file cannot be written.
        RuntimeError: If the features differ.
    """
    for batch_size in BATCH_SIZES:
        images = probe_images(encoder, batch_size)
        check_same(run(images.numpy()), forward(encoder, images), name, tolerance)
    with atomic.replacing(target, len(content)) as temporary:
        temporary.write_bytes(content)
    return str(target)


def in_float32(encoder: keras.Layer) -> keras.Layer:
    """Returns the encoder, or a float32 copy if it computes in 16 bits.

    Args:
        encoder: Model or layer from images to features.

    Returns:
        The same object if it computes in float32 already.

    Raises:
        ValueError: If the encoder cannot be copied.

    Example:
        >>> import keras_bt
        >>> encoder = keras_bt.resnet18((8, 8, 3), width=1)
        >>> in_float32(encoder) is encoder
        True
    """
    if isinstance(encoder, ExportedEncoder):
        dtypes = {encoder.description.get("computes_in", "float32")}
    else:
        dtypes = {layer.compute_dtype for layer in flatten_layers(encoder)} - {None}
    if dtypes <= {"float32"}:
        return encoder
    if functional_of(encoder) is None:
        raise ValueError(
            f"This encoder computes in {', '.join(sorted(dtypes))} and Keras cannot copy its "
            "layers one by one: load its .keras file, or build it in float32."
        )

    def copy(layer: keras.Layer) -> keras.Layer:
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    float32_encoder = keras.models.clone_model(encoder, clone_function=copy, recursive=True)
    float32_encoder.set_weights(encoder.get_weights())
    return float32_encoder
