"""The encoder leaves, for TensorFlow, ONNX and LiteRT; ResNets of PyTorch come in."""

from keras_bt.export.exported_encoder import ExportedEncoder, load_encoder
from keras_bt.export.forward import image_size_of
from keras_bt.export.litert import export_litert
from keras_bt.export.onnx import export_onnx
from keras_bt.export.saved_model import export_encoder
from keras_bt.export.torch_import import import_torch_resnet

__all__ = [
    "ExportedEncoder",
    "export_encoder",
    "export_litert",
    "export_onnx",
    "image_size_of",
    "import_torch_resnet",
    "load_encoder",
]
