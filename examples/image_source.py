"""The flags by which the examples are told where images are."""

import hashlib
import os
from pathlib import Path

from absl import flags

from keras_bt import data
from keras_bt.data.files import LARGEST_MAX_PIXELS, MAX_PIXELS

FLAGS = flags.FLAGS

flags.DEFINE_string("image_dir", None, "Folder of images, with or without class folders.")
flags.DEFINE_enum(
    "bad_images", "fail", ["fail", "skip"], "What to do about unreadable files of --image_dir."
)
flags.DEFINE_integer(
    "max_pixels",
    MAX_PIXELS,
    "Images of --image_dir with more are unreadable.",
    1,
    LARGEST_MAX_PIXELS,
)
flags.DEFINE_string("tfrecords", None, "Path or glob of TFRecord files of encoded images.")
flags.DEFINE_string("data_dir", None, "Where TensorFlow Datasets keeps its data sets.")
flags.DEFINE_bool(
    "validation",
    False,
    "Hold every tenth training image out, to score on in place of the held-out ones: for choosing "
    "settings.",
)


def open_source(dataset, workdir=None):
    """The images the flags name, else the data set of that name.

    What is found out about a folder is kept beside `workdir`, for all runs there.
    """
    source = _whole_source(dataset, workdir)
    return source.for_validation() if FLAGS.validation else source


def _whole_source(dataset, workdir):
    for name in ("image_dir", "tfrecords"):
        if FLAGS[name].value == "":
            raise ValueError(f"--{name} is empty.")
    if FLAGS.image_dir:
        index = index_path(FLAGS.image_dir, workdir) if workdir else None
        return data.from_folder(FLAGS.image_dir, FLAGS.bad_images, FLAGS.max_pixels, index)
    if FLAGS.tfrecords:
        return data.from_tfrecords(FLAGS.tfrecords)
    return data.from_name(dataset, FLAGS.data_dir)


def index_path(image_dir, workdir):
    """Where the index of a folder of images is: two of the same name have two."""
    folder = Path(image_dir).expanduser().absolute()
    digest = hashlib.sha1(os.fsencode(folder)).hexdigest()[:8]
    beside = Path(workdir).expanduser().absolute().parent
    return beside / f".{folder.name}-{digest}.images.gz"
