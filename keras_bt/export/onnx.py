"""Exports an encoder as an ONNX file, for any runtime."""

from os import PathLike

import keras
import numpy as np

from keras_bt._support.errors import first_line
from keras_bt._support.optional import import_optional
from keras_bt.export.conversion import check_and_write, prepare
from keras_bt.export.onnx_graph import convert


def export_onnx(encoder: keras.Layer, path: str | PathLike[str], *, overwrite: bool = False) -> str:
    """Writes the encoder as an ONNX file and checks it with ONNX Runtime.

        session = onnxruntime.InferenceSession("encoder.onnx")
        (features,) = session.run(["features"], {"inputs": images})    # float32 RGB in [0, 1]

    The batch can have any size; so can the images if the encoder allows it. Encoders with a 16-bit
    policy are exported in float32. The file is written after ONNX's checker has accepted it and
    ONNX Runtime has returned the encoder's features.

    Args:
        encoder: Model as for `export_encoder`, or layer from `load_encoder`.
        path: File to write, ending in ".onnx".
        overwrite: Whether an existing file may be replaced.

    Returns:
        The absolute path.

    Raises:
        FileExistsError: If `path` exists and `overwrite` is false.
        ImportError: If onnx, onnxruntime or tf2onnx is missing.
        OSError: If the file cannot be written.
        RuntimeError: If ONNX Runtime returns other features.
        ValueError: If the encoder cannot be converted.

    Example:
        >>> import tempfile
        >>> import keras_bt
        >>> encoder = keras_bt.resnet18((8, 8, 3), width=1, stem="small")
        >>> path = export_onnx(encoder, tempfile.mkdtemp() + "/encoder.onnx")
        >>> import onnxruntime
        >>> [output.name for output in onnxruntime.InferenceSession(path).get_outputs()]
        ['features']
    """
    target, encoder, function = prepare(encoder, path, ".onnx", overwrite)
    onnx, onnxruntime, tf2onnx = import_optional(["onnx", "onnxruntime", "tf2onnx"], extra="onnx")
    try:
        content = convert(onnx, tf2onnx, function.get_concrete_function())
        onnx.checker.check_model(content, full_check=True)
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(
            f"This encoder cannot be converted to ONNX: {first_line(error)}"
        ) from error

    def run(images: np.ndarray) -> np.ndarray:
        return session.run(["features"], {"inputs": images})[0]

    return check_and_write(target, content, run, encoder, "The ONNX file")
