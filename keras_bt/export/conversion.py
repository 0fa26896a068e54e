"""What exporting an encoder to the files of other runtimes has in common."""

from pathlib import Path

import keras
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


def prepare(encoder, path, suffix, overwrite):
    """The file to write, the encoder in float32, and a function of images to trace.

    Args:
        encoder: `keras.Model` or layer from images to features.
        path: Path of the file.
        suffix: String that it has to end in.
        overwrite: Bool. Whether it may be there already.

    Returns:
        target: `Path`.
        encoder: The encoder, or its copy that computes in float32.
        function: `tf.function` from `inputs` to {"features"}, with a signature.
        spec: `tf.TensorSpec` of its inputs.

    Raises:
        FileExistsError: If the file exists and may not be replaced.
        ValueError: If its name ends otherwise, or the encoder is none.
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
    return target, encoder, function, spec


def publish(target, content, run, encoder, what, tolerance=TOLERANCE):
    """Writes a converted encoder, once it gives the features of the one in memory.

    Args:
        target: `Path` of the file.
        content: Bytes to write.
        run: Function from images, a float32 array, to features.
        encoder: The encoder in memory.
        what: String, what the file is called in messages.
        tolerance: Float. Largest difference, as a part of the largest feature.

    Returns:
        The path, a string.
    """
    for batch_size in BATCH_SIZES:
        images = probe_images(encoder, batch_size)
        check_same(run(images.numpy()), forward(encoder, images), what, tolerance)
    with atomic.replacing(target, len(content)) as aside:
        aside.write_bytes(content)
    return str(target)


def in_float32(encoder):
    """The encoder, or its copy that computes in float32 where it does so in 16 bits.

    Raises:
        ValueError: If it cannot be copied so.

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
            f"This encoder computes in {', '.join(sorted(dtypes))}, which only models that Keras "
            "can copy layer by layer leave: take its .keras file, or build it in float32."
        )

    def copy(layer):
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    twin = keras.models.clone_model(encoder, clone_function=copy, recursive=True)
    twin.set_weights(encoder.get_weights())
    return twin
