"""The encoder leaves: as a SavedModel that anything in the TensorFlow world can load."""

from keras_bt.export.saved_model import ExportedEncoder, export_encoder, load_encoder

__all__ = ["ExportedEncoder", "export_encoder", "load_encoder"]
