"""Scores an exported encoder on labelled images: k-NN, linear probe, ten labels a class.

    python examples/linear_eval.py --encoder=runs/digits/encoder --dataset=digits

The images are a data set's or a folder's own held-out part. The last line of stdout is the
result as JSON.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import image_source
from absl import app, flags, logging

import keras_bt
from keras_bt import evaluation

FLAGS = flags.FLAGS

flags.adopt_module_key_flags(image_source)
flags.DEFINE_string("encoder", None, "Folder of the exported encoder.", required=True)
flags.DEFINE_string("dataset", "digits", "digits or a TensorFlow Datasets name.")
flags.DEFINE_integer("image_size", None, "Side of the images, where the encoder takes any.")


def main(arguments):
    if len(arguments) > 1:
        sys.exit(f"linear_eval: unexpected arguments {arguments[1:]}; flags are --name=value.")
    try:
        encoder = keras_bt.load_encoder(FLAGS.encoder)
        source = image_source.open_source(FLAGS.dataset)
        image_size = FLAGS.image_size or encoder.input_spec.shape[1]
        if image_size is None:
            raise ValueError("The encoder takes images of any size; give --image_size.")
        if encoder.input_spec.shape[1] not in (None, image_size):
            raise ValueError(
                f"The encoder takes images of {encoder.input_spec.shape[1]} pixels, "
                f"--image_size is {image_size}."
            )
        if source.test is None:
            raise ValueError(f"{source.name} has no labels to evaluate with.")
    except (ValueError, OSError) as error:
        sys.exit(f"linear_eval: {error}")
    print(
        json.dumps(
            {
                "encoder_dir": FLAGS.encoder,
                "dataset": source.name,
                "train_images": source.train.count,
                "test_images": source.test.count,
                **evaluation.score(encoder, source, image_size, probe_images=None),
            }
        )
    )


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(main)
