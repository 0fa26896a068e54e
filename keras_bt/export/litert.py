"""The encoder as a LiteRT (TensorFlow Lite) file, for phones and small devices."""

import re
import tempfile

import tensorflow as tf

from keras_bt._support.compat import trackable
from keras_bt._support.errors import first_line
from keras_bt._support.optional import import_optional
from keras_bt.export.conversion import prepare, publish
from keras_bt.export.forward import TOLERANCE

INT8_TOLERANCE = 5e-2  # of the largest feature


def export_litert(encoder, path, *, int8=False, overwrite=False):
    """Writes the encoder as a LiteRT file, and checks it by LiteRT's interpreter.

        runner = ai_edge_litert.interpreter.Interpreter("encoder.tflite").get_signature_runner()
        features = runner(inputs=images)["features"]               # float32 RGB in [0, 1]

    Batches may be of any size, images too where the encoder takes any. It computes in float32, as
    a copy where the encoder itself does so in 16 bits. The file appears when the interpreter has
    given the encoder's features. It holds operations of LiteRT alone, no TensorFlow ones.

    Args:
        encoder: `keras.Model` as for `export_encoder`, or a layer of `load_encoder`.
        path: File to write, ending in ".tflite".
        int8: Bool. Stores weights in 8 bits, a quarter of the size. Features then differ by up to
            a twentieth of the largest; by more is an error.
        overwrite: Bool. Whether it may be replaced.

    Returns:
        The path, a string.

    Raises:
        FileExistsError: If `path` exists and `overwrite` is false.
        ImportError: If ai-edge-litert is missing.
        OSError: If it cannot be written.
        RuntimeError: If the interpreter gives other features.
        ValueError: If the encoder cannot be converted.

    Example:
        >>> import tempfile
        >>> import keras_bt
        >>> encoder = keras_bt.resnet18((8, 8, 3), width=1, stem="small")
        >>> path = export_litert(encoder, tempfile.mkdtemp() + "/encoder.tflite")
    """
    target, encoder, function, _ = prepare(encoder, path, ".tflite", overwrite)
    (interpreter,) = import_optional(["ai_edge_litert.interpreter"], extra="litert")
    try:
        content = _converted(encoder, function, int8)
        runner = interpreter.Interpreter(model_content=content).get_signature_runner()
    except Exception as error:
        raise ValueError(f"This encoder cannot be converted to LiteRT: {_reason(error)}") from error

    def run(images):
        return runner(inputs=images)["features"]

    tolerance = INT8_TOLERANCE if int8 else TOLERANCE
    return publish(target, content, run, encoder, "The LiteRT file", tolerance)


def _converted(encoder, function, int8):
    module = trackable()
    module.variables = [variable.value for variable in encoder.variables]
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=function.get_concrete_function())
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if int8:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return converter.convert()


def _reason(error):
    unknown = set(re.findall(r"tf\.(\w+)\(", str(error)))
    return f"LiteRT has no {', '.join(sorted(unknown))}." if unknown else first_line(error)
