"""Where images come from: every source becomes `Images`, read by `tf.data`.

Images leave here as uint8 (or floats in [0, 1]) squares of one size, ready to be viewed
or encoded. Nothing here augments.
"""

from keras_bt.data.folder import from_files, from_folder, image_files
from keras_bt.data.images import Images, Source, fit_square
from keras_bt.data.memory import digits, from_arrays
from keras_bt.data.named import from_name, from_tfds
from keras_bt.data.tfrecords import from_tfrecords

__all__ = [
    "Images",
    "Source",
    "digits",
    "fit_square",
    "from_arrays",
    "from_files",
    "from_folder",
    "from_name",
    "from_tfds",
    "from_tfrecords",
    "image_files",
]
