"""Sources of images, all as `Images`: folders, arrays, TFRecords, tars, TensorFlow Datasets.

Every source yields uint8 squares (or floats in [0, 1]) of one size, read by `tf.data`. There is
no augmentation here.
"""

from keras_bt.data.folder import from_files, from_folder, image_files
from keras_bt.data.images import Images, Source
from keras_bt.data.memory import digits, from_arrays, in_memory
from keras_bt.data.named import from_name, from_tfds
from keras_bt.data.preparation import prepare
from keras_bt.data.prepared import Prepared, from_prepared
from keras_bt.data.tars import from_tars
from keras_bt.data.tfrecords import from_tfrecords
from keras_bt.functional.framing import fit_square

__all__ = [
    "Images",
    "Prepared",
    "Source",
    "digits",
    "fit_square",
    "from_arrays",
    "from_files",
    "from_folder",
    "from_name",
    "from_prepared",
    "from_tars",
    "from_tfds",
    "from_tfrecords",
    "image_files",
    "in_memory",
    "prepare",
]
