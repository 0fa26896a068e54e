"""Exports the encoder of a saved model as a SavedModel in TF Hub's style.

    python examples/export_encoder.py --model=runs/digits/model.keras --out=encoders/digits

The model is a `BarlowTwins` that was saved, or any Keras model from images to features.
"""

import os
import sys
import zipfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from absl import app, flags, logging

import keras_bt

FLAGS = flags.FLAGS

flags.DEFINE_string("model", None, "The .keras file.", required=True)
flags.DEFINE_string("out", None, "Folder to write.", required=True)
flags.DEFINE_bool("overwrite", False, "Whether the folder may be replaced.")


def main(arguments):
    if len(arguments) > 1:
        sys.exit(f"export_encoder: unexpected arguments {arguments[1:]}; flags are --name=value.")
    try:
        model = keras.saving.load_model(FLAGS.model, compile=False)
        encoder = model.encoder if isinstance(model, keras_bt.BarlowTwins) else model
        print(keras_bt.export_encoder(encoder, FLAGS.out, overwrite=FLAGS.overwrite))
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        sys.exit(f"export_encoder: {error}")


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(main)
