"""Writes the representations of all images of a folder into a file.

    python examples/embed.py --encoder=runs/photos/encoder --image_dir=photos --out=features.parquet

Columns (or arrays of an npz) are `path` and `representation`; the last line of stdout is what was
done, as JSON. Started again after it was ended, it goes on where it was. `neighbors.py` searches
the file.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags, logging

import keras_bt
from keras_bt.data.files import LARGEST_MAX_PIXELS, MAX_PIXELS
from keras_bt.export import image_size_of

FLAGS = flags.FLAGS

flags.DEFINE_string("encoder", None, "Folder of the exported encoder.", required=True)
flags.DEFINE_string("image_dir", None, "Folder of images, at any depth.", required=True)
flags.DEFINE_string("out", None, "File to write, .parquet or .npz.", required=True)
flags.DEFINE_integer("image_size", None, "Side of the images, where the encoder takes any.", 1)
flags.DEFINE_enum("bad_images", "skip", ["skip", "fail"], "What to do about unreadable files.")
flags.DEFINE_integer(
    "max_pixels", MAX_PIXELS, "Images with more are unreadable.", 1, LARGEST_MAX_PIXELS
)
flags.DEFINE_bool("overwrite", False, "Whether the file may be replaced.")


def embed():
    """Embeds what the flags name."""
    if Path(FLAGS.out).exists() and not FLAGS.overwrite:
        raise FileExistsError(f"{FLAGS.out} exists; --overwrite replaces it.")
    encoder = keras_bt.load_encoder(FLAGS.encoder)
    result = keras_bt.extract_folder_features(
        encoder,
        FLAGS.image_dir,
        FLAGS.out,
        image_size_of(encoder, FLAGS.image_size),
        about={
            "encoder": str(Path(FLAGS.encoder).absolute()),
            "encoder_digest": encoder.digest,
        },
        bad_images=FLAGS.bad_images,
        max_pixels=FLAGS.max_pixels,
    )
    return {**result, "out": FLAGS.out}


def main(arguments):
    try:
        if len(arguments) > 1:
            raise ValueError(f"unexpected arguments {arguments[1:]}; flags are --name=value.")
        print(json.dumps(embed()))
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"embed: {error}")


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit(130)
