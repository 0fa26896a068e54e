"""Representations of whole folders of images: made, kept in a file, and searched."""

from keras_bt.representations.file import Representations, read_representations
from keras_bt.representations.folder import embed_folder
from keras_bt.representations.nearest import nearest_images

__all__ = ["Representations", "embed_folder", "nearest_images", "read_representations"]
