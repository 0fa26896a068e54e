"""Exports an encoder as a LiteRT (TensorFlow Lite) file, for phones and small devices."""

import re
import tempfile
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bt._support.compat import trackable
from keras_bt._support.errors import first_line
from keras_bt._support.literal_paths import literal
from keras_bt._support.optional import import_optional
from keras_bt.export.conversion import check_and_write, prepare
from keras_bt.export.forward import TOLERANCE

INT8_TOLERANCE = 5e-2  # of the largest feature


def export_litert(
    encoder: keras.Layer,
    path: str | PathLike[str],
    *,
    int8: bool = False,
    overwrite: bool = False,
) -> str:
    """Writes the encoder as a LiteRT file and checks it with LiteRT's interpreter.

        runner = ai_edge_litert.interpreter.Interpreter("encoder.tflite").get_signature_runner()
        features = runner(inputs=images)["features"]               # float32 RGB in [0, 1]

    The batch can have any size; so can the images if the encoder allows it. Encoders with a 16-bit
    policy are exported in float32. The file uses LiteRT's own operations only. It is written
    after the interpreter has returned the encoder's features.

    Args:
        encoder: Model as for `export_encoder`, or layer from `load_encoder`.
        path: File to write, ending in ".tflite".
        int8: Stores weights in 8 bits, which takes a quarter of the size. Features may then
            differ by up to a twentieth of the largest.
        overwrite: Whether an existing file may be replaced.

    Returns:
        The absolute path.

    Raises:
        FileExistsError: If `path` exists and `overwrite` is false.
        ImportError: If ai-edge-litert is missing.
        OSError: If the file cannot be written.
        RuntimeError: If the interpreter returns other features.
        ValueError: If the encoder cannot be converted.

    Example:
        >>> import tempfile
        >>> import keras_bt
        >>> encoder = keras_bt.resnet18((8, 8, 3), width=1, stem="small")
        >>> path = export_litert(encoder, tempfile.mkdtemp() + "/encoder.tflite")
        >>> from ai_edge_litert.interpreter import Interpreter
        >>> Interpreter(path).get_signature_list()
        {'serving_default': {'inputs': ['inputs'], 'outputs': ['features']}}
    """
    target, encoder, function = prepare(encoder, path, ".tflite", overwrite)
    (interpreter,) = import_optional(["ai_edge_litert.interpreter"], extra="litert")
    try:
        content = _convert(encoder, function, int8)
        runner = interpreter.Interpreter(model_content=content).get_signature_runner()
    except Exception as error:
        raise ValueError(f"This encoder cannot be converted to LiteRT: {_reason(error)}") from error

    def run(images: np.ndarray) -> np.ndarray:
        return runner(inputs=images)["features"]

    tolerance = INT8_TOLERANCE if int8 else TOLERANCE
    return check_and_write(target, content, run, encoder, "The LiteRT file", tolerance)


def _convert(encoder: keras.Layer, function: Any, int8: bool) -> bytes:
    module = trackable()
    module.variables = [variable.value for variable in encoder.variables]
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=function.get_concrete_function())
        with literal(Path(folder)) as readable:  # TMPDIR may have any name
            converter = tf.lite.TFLiteConverter.from_saved_model(str(readable))
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            if int8:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            return converter.convert()


def _reason(error: Exception) -> str:
    unknown = set(re.findall(r"tf\.(\w+)\(", str(error)))
    return f"LiteRT has no {', '.join(sorted(unknown))}." if unknown else first_line(error)
