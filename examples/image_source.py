"""The flags by which the examples are told where images are."""

from absl import flags

FLAGS = flags.FLAGS

flags.DEFINE_string("image_dir", None, "Folder of images, with or without class folders.")
flags.DEFINE_string("tfrecords", None, "Path or glob of TFRecord files of encoded images.")
flags.DEFINE_string("data_dir", None, "Where TensorFlow Datasets keeps its data sets.")


def open_source(dataset):
    """The images the flags name, else the data set of that name."""
    from keras_bt import data

    for name in ("image_dir", "tfrecords"):
        if FLAGS[name].value == "":
            raise ValueError(f"--{name} is empty.")
    if FLAGS.image_dir:
        return data.from_folder(FLAGS.image_dir)
    if FLAGS.tfrecords:
        return data.from_tfrecords(FLAGS.tfrecords)
    return data.from_name(dataset, FLAGS.data_dir)
