"""The flags that choose the images: a folder, TFRecords, or a data set."""

import hashlib
import os
from pathlib import Path

from absl.flags import FlagValues

from keras_bt import data
from keras_bt.cli.command import FlagGroup
from keras_bt.data.files import LARGEST_MAX_PIXELS, MAX_PIXELS

IMAGES = ("image_dir", "tfrecords", "dataset")  # at most one of them can be given


def define_image_flags(values: FlagValues) -> None:
    """Adds the flags that choose the images."""
    images = FlagGroup(values, "Images")
    images.string("image_dir", None, "Folder of images, with or without class folders.")
    images.string("dataset", None, "digits, or a TensorFlow Datasets name.")
    images.string("data_dir", None, "Folder where TensorFlow Datasets keeps its data sets.")
    images.string("tfrecords", None, "Path or glob of TFRecord files with encoded images.")
    define_file_flags(values, bad_images="fail")
    images.bool(
        "validation",
        "Hold out every tenth training image and score on those, for choosing settings.",
    )


def define_file_flags(values: FlagValues, bad_images: str) -> None:
    """Adds the flags about unreadable files of a folder; `bad_images` is the default."""
    images = FlagGroup(values, "Images")
    images.enum(
        "bad_images", bad_images, ("fail", "skip"), "How unreadable files in a folder are handled."
    )
    images.integer(
        "max_pixels",
        MAX_PIXELS,
        "Images in a folder with more pixels count as unreadable.",
        1,
        LARGEST_MAX_PIXELS,
    )


def open_source(flags: FlagValues, dataset: str | None, workdir: str | None = None) -> data.Source:
    """The images that the flags name, or else a data set.

    Args:
        flags: Flags of `define_image_flags`.
        dataset: Name of the data set for flags that name neither a folder nor TFRecords.
        workdir: Folder of a run; the index of an image folder is kept beside it, so that the
            next start reads only new files. None keeps no index.
    """
    source = _whole_source(flags, dataset, workdir)
    return source.for_validation() if flags.validation else source


def _whole_source(flags: FlagValues, dataset: str | None, workdir: str | None) -> data.Source:
    for name in ("image_dir", "tfrecords"):
        if flags[name].value == "":
            raise ValueError(f"--{name} is empty.")
    if flags.image_dir:
        index = index_path(flags.image_dir, workdir) if workdir else None
        return data.from_folder(flags.image_dir, flags.bad_images, flags.max_pixels, index)
    if flags.tfrecords:
        return data.from_tfrecords(flags.tfrecords)
    return data.from_name(dataset or "digits", flags.data_dir)


def index_path(image_dir: str, workdir: str) -> Path:
    """Path of the index of an image folder; folders with the same name get different paths."""
    folder = Path(image_dir).expanduser().absolute()
    digest = hashlib.sha1(os.fsencode(folder)).hexdigest()[:8]
    beside = Path(workdir).expanduser().absolute().parent
    return beside / f".{folder.name}-{digest}.images.gz"
