"""Extracts the features of all images of a folder into a file.

    keras-bt features --encoder=runs/photos/encoder --image_dir=photos --out=features.parquet

The columns (in an .npz file, the arrays) are `path` and `representation`. The last line of stdout
is a summary as JSON. After an interruption, the same command resumes. `keras-bt neighbors`
searches the file.
"""

import json
from pathlib import Path

from absl.flags import FlagValues

import keras_bt
from keras_bt.cli.command import Command, FlagGroup, Invocation
from keras_bt.cli.image_flags import define_file_flags
from keras_bt.export import image_size_of


def _define_flags(values: FlagValues) -> None:
    FlagGroup(values, "Encoder").string("encoder", None, "Folder of the exported encoder.")
    images = FlagGroup(values, "Images")
    images.string("image_dir", None, "Folder of images, at any depth.")
    images.integer("image_size", None, "Side of the images, for an encoder that takes any size.", 1)
    define_file_flags(values, bad_images="skip")
    output = FlagGroup(values, "Output")
    output.string("out", None, "File to write, .parquet or .npz.")
    output.bool("overwrite", "Replace the file if it exists.")


def run(invocation: Invocation) -> None:
    """Extracts the features of the folder into the file."""
    flags = invocation.flags
    if Path(flags.out).exists() and not flags.overwrite:
        raise FileExistsError(f"{flags.out} exists; --overwrite replaces it.")
    encoder = keras_bt.load_encoder(flags.encoder)
    metadata = {"encoder": str(Path(flags.encoder).absolute()), "encoder_digest": encoder.digest}
    result = keras_bt.extract_folder_features(
        encoder,
        flags.image_dir,
        flags.out,
        image_size_of(encoder, flags.image_size),
        metadata=metadata,
        bad_images=flags.bad_images,
        max_pixels=flags.max_pixels,
    )
    print(json.dumps({**result, "out": flags.out}), flush=True)


COMMAND = Command(
    name="features",
    doc=__doc__,
    define_flags=_define_flags,
    run=run,
    first=("encoder", "image_dir", "out"),
    required=("encoder", "image_dir", "out"),
)
main = COMMAND.main
