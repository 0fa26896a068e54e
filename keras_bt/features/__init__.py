"""Features of whole folders of images: extracted, stored in a file, searched."""

from keras_bt.features.file import Representations, read_features
from keras_bt.features.folder import extract_folder_features
from keras_bt.features.nearest import nearest_images

__all__ = ["Representations", "extract_folder_features", "nearest_images", "read_features"]
