"""Reduces the images of a folder once, so that training reads them quickly.

    keras-bt prepare --image_dir=photos --image_size=224 --out=prepared
    keras-bt pretrain --image_dir=prepared --image_size=224 --workdir=runs/photos

Reads every file once, and writes images of the size that training loads, with their true sizes and
classes, as TFRecords. The result has the sets, classes and held-out images of the folder. After an
interruption, the same command resumes. Started again on a finished folder, it checks all checksums
and prepares what has changed. The last line of stdout is a summary as JSON. `keras-bt pretrain`
does the same by itself where it pays; see its --prepare.
"""

import json
import logging

from absl.flags import FlagValues

from keras_bt import data
from keras_bt.cli.command import Command, FlagGroup, Invocation
from keras_bt.cli.image_flags import define_file_flags
from keras_bt.config import rules


def _define_flags(values: FlagValues) -> None:
    images = FlagGroup(values, "Images")
    images.string("image_dir", None, "Folder of images, with or without class folders.")
    images.integer(
        "image_size",
        None,
        "The largest --image_size that runs on the prepared images will have.",
        1,
    )
    images.integer(
        "load_size",
        None,
        "Shorter side of the prepared images, in pixels. By default what pretrain loads for "
        "--image_size: the same up to 64, then 10 / 7 of it.",
        1,
    )
    define_file_flags(values, bad_images="fail")
    FlagGroup(values, "Output").string("out", None, "Folder to write.")


def run(invocation: Invocation) -> None:
    """Prepares the folder, and prints a summary."""
    flags = invocation.flags
    for name in ("image_dir", "out"):
        if not flags[name].value:
            raise ValueError(f"--{name} is empty.")
    logging.getLogger("keras_bt").setLevel(logging.INFO)  # time and room, before it begins
    result = data.prepare(
        flags.image_dir,
        flags.out,
        flags.load_size or rules.load_size(flags.image_size),
        bad_images=flags.bad_images,
        max_pixels=flags.max_pixels,
    )
    print(json.dumps({**result, "out": flags.out}), flush=True)


COMMAND = Command(
    name="prepare",
    doc=__doc__,
    define_flags=_define_flags,
    run=run,
    first=("image_dir", "image_size", "out", "bad_images"),
    required=("image_dir", "image_size", "out"),
)
main = COMMAND.main
