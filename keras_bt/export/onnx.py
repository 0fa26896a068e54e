"""The encoder as an ONNX file, for any runtime."""

from keras_bt._support.errors import first_line
from keras_bt._support.optional import import_optional
from keras_bt.export.conversion import prepare, publish

OPSET = 17


def export_onnx(encoder, path, *, overwrite=False):
    """Writes the encoder as an ONNX file, and checks it by ONNX Runtime.

        session = onnxruntime.InferenceSession("encoder.onnx")
        (features,) = session.run(["features"], {"inputs": images})    # float32 RGB in [0, 1]

    Batches may be of any size, images too where the encoder takes any. It computes in float32, as
    a copy where the encoder itself does so in 16 bits. The file appears when ONNX's checker has
    passed it and ONNX Runtime has given the encoder's features.

    Args:
        encoder: `keras.Model` as for `export_encoder`, or a layer of `load_encoder`.
        path: File to write, ending in ".onnx".
        overwrite: Bool. Whether it may be replaced.

    Returns:
        The path, a string.

    Raises:
        FileExistsError: If `path` exists and `overwrite` is false.
        ImportError: If onnx, onnxruntime or tf2onnx is missing.
        OSError: If it cannot be written.
        RuntimeError: If ONNX Runtime gives other features.
        ValueError: If the encoder cannot be converted.

    Example:
        >>> import tempfile
        >>> import keras_bt
        >>> encoder = keras_bt.resnet18((8, 8, 3), width=1, stem="small")
        >>> path = export_onnx(encoder, tempfile.mkdtemp() + "/encoder.onnx")
    """
    target, encoder, function, spec = prepare(encoder, path, ".onnx", overwrite)
    onnx, onnxruntime, tf2onnx = import_optional(["onnx", "onnxruntime", "tf2onnx"], extra="onnx")
    try:
        model, _ = tf2onnx.convert.from_function(function, [spec], opset=OPSET)
        content = model.SerializeToString()
        # tf2onnx leaves operations that it does not know as they are.
        onnx.checker.check_model(content, full_check=True)
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(
            f"This encoder cannot be converted to ONNX: {first_line(error)}"
        ) from error

    def run(images):
        return session.run(["features"], {"inputs": images})[0]

    return publish(target, content, run, encoder, "The ONNX file")
