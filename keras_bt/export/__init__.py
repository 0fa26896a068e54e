"""Exports encoders as SavedModel, ONNX and LiteRT."""

from keras_bt.export.exported_encoder import ExportedEncoder, load_encoder
from keras_bt.export.forward import image_size_of
from keras_bt.export.litert import export_litert
from keras_bt.export.onnx import export_onnx
from keras_bt.export.saved_model import export_encoder

__all__ = [
    "ExportedEncoder",
    "export_encoder",
    "export_litert",
    "export_onnx",
    "image_size_of",
    "load_encoder",
]
