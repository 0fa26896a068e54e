"""Extracts, stores and searches the features of whole folders of images."""

from keras_bt.features.file import FolderFeatures, read_features
from keras_bt.features.folder import extract_folder_features
from keras_bt.features.nearest import nearest_images

__all__ = ["FolderFeatures", "extract_folder_features", "nearest_images", "read_features"]
