"""The flags that choose the images: a folder, TFRecords, tar files, or a data set."""

import hashlib
import os
import re
from pathlib import Path

from absl.flags import FlagValues

from keras_bt import data
from keras_bt.cli.command import FlagGroup
from keras_bt.data.files import LARGEST_MAX_PIXELS, MAX_PIXELS
from keras_bt.data.scan import CHECKS

IMAGES = ("image_dir", "tfrecords", "tars", "dataset")  # at most one of them can be given


def define_image_flags(values: FlagValues) -> None:
    """Adds the flags that choose the images."""
    images = FlagGroup(values, "Images")
    images.string("image_dir", None, "Folder of images, with or without class folders.")
    images.string("dataset", None, "digits, or a TensorFlow Datasets name.")
    images.string("data_dir", None, "Folder where TensorFlow Datasets keeps its data sets.")
    images.string("tfrecords", None, "Path or glob of TFRecord files with encoded images.")
    images.string("tars", None, "Path, glob or range of tar files, as WebDataset writes them.")
    define_file_flags(values, bad_images="fail")
    images.enum(
        "check",
        "header",
        CHECKS,
        "What is examined before training. header: the header of each file or record; damage of "
        "the rest is met when an image is read, and the next image replaces it. decode: all of "
        "each file.",
    )
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
        dataset: Name of the data set for flags that name no files.
        workdir: Folder of a run; the index of files is kept beside it, so that the next start
            reads only new ones. None keeps no index.
    """
    source = _whole_source(flags, dataset, workdir)
    return source.for_validation() if flags.validation else source


def _whole_source(flags: FlagValues, dataset: str | None, workdir: str | None) -> data.Source:
    for name in ("image_dir", "tfrecords", "tars"):
        if flags[name].value == "":
            raise ValueError(f"--{name} is empty.")
    if flags.image_dir:
        index = index_path(flags.image_dir, workdir, "images") if workdir else None
        return data.from_folder(
            flags.image_dir, flags.bad_images, flags.max_pixels, index, flags.check
        )
    if flags.tfrecords:
        index = index_path(flags.tfrecords, workdir, "records") if workdir else None
        return data.from_tfrecords(flags.tfrecords, index, flags.check)
    if flags.tars:
        index = index_path(flags.tars, workdir, "tars") if workdir else None
        return data.from_tars(flags.tars, index, flags.check)
    return data.from_name(dataset or "digits", flags.data_dir)


def index_path(place: str, workdir: str, kind: str) -> Path:
    """Path of the index of images; places with the same name get different paths.

    Args:
        place: Folder of the images, or pattern of their files.
        workdir: Folder of the run.
        kind: Ending of the name.

    Example:
        >>> index_path("gs://bucket/train-*", "runs/a", "records").name
        '.train-_-10cd8eab.records.gz'
    """
    whole = Path(place) if "://" in place else Path(place).expanduser().absolute()
    digest = hashlib.sha1(os.fsencode(whole)).hexdigest()[:8]
    name = re.sub(r"[^\w.-]", "_", whole.name)
    return Path(workdir).expanduser().absolute().parent / f".{name}-{digest}.{kind}.gz"
