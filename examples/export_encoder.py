"""Exports an encoder: as a SavedModel in TF Hub's style, for ONNX or for LiteRT.

    python examples/export_encoder.py --model=runs/digits/model.keras --out=encoders/digits
    python examples/export_encoder.py --encoder=runs/digits/encoder --out=digits.onnx --format=onnx

The model is a `BarlowTwins` that was saved, or any Keras model from images to features. What the
result.json beside it tells of its training goes into the SavedModel's model card.
"""

import json
import os
import sys
import zipfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import encoder_flags
from absl import app, flags, logging

import keras_bt

FLAGS = flags.FLAGS

flags.adopt_module_key_flags(encoder_flags)
flags.DEFINE_string("out", None, "Folder or file to write.", required=True)
flags.DEFINE_enum(
    "format",
    "saved_model",
    ["saved_model", "onnx", "litert", "litert_int8"],
    "Of what is written. ONNX and LiteRT need pip install 'keras-bt[onnx]', 'keras-bt[litert]'.",
)
flags.DEFINE_integer(
    "image_size",
    None,
    "Of a SavedModel: side to which it brings files of images, if other than the encoder's.",
    1,
)
flags.DEFINE_string("licence", None, "Of a SavedModel: what its model card says of its use.")
flags.DEFINE_bool("overwrite", False, "Whether what is there may be replaced.")


def metadata():
    """What is known of the training, and the licence."""
    file = Path(FLAGS.model).with_name("result.json")
    told = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return told | ({"licence": FLAGS.licence} if FLAGS.licence else {})


def export():
    """Writes what the flags name; its path."""
    overwrite = FLAGS.overwrite
    if FLAGS.format == "saved_model":
        if FLAGS.encoder is not None:
            raise ValueError("--encoder is a SavedModel already; --format=onnx or litert goes on.")
        told = metadata()
        image_size = FLAGS.image_size or told.get("image_size")
        return keras_bt.export_encoder(
            encoder_flags.open_encoder(),
            FLAGS.out,
            image_size=image_size,
            metadata=told,
            overwrite=overwrite,
        )
    for name in ("image_size", "licence"):
        if FLAGS[name].value is not None:
            raise ValueError(f"--{name} has no effect with --format={FLAGS.format}.")
    if FLAGS.format == "onnx":
        return keras_bt.export_onnx(encoder_flags.open_encoder(), FLAGS.out, overwrite=overwrite)
    int8 = FLAGS.format == "litert_int8"
    return keras_bt.export_litert(
        encoder_flags.open_encoder(), FLAGS.out, int8=int8, overwrite=overwrite
    )


def main(arguments):
    try:
        if len(arguments) > 1:
            raise ValueError(f"unexpected arguments {arguments[1:]}; flags are --name=value.")
        print(export())
    except (ValueError, OSError, ImportError, RuntimeError, zipfile.BadZipFile) as error:
        sys.exit(f"export_encoder: {error}")


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(main)
