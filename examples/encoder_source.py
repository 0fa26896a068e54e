"""The flags by which the evaluating examples are told of an encoder and of labelled images."""

import json
import sys
import time
import zipfile

import encoder_flags
import image_source
import ledger_flag
from absl import flags

from keras_bt import evaluation
from keras_bt.export import image_size_of

FLAGS = flags.FLAGS
# Of what the flags name, and of its evaluation.
ERRORS = (ValueError, OSError, zipfile.BadZipFile, FloatingPointError)

flags.adopt_module_key_flags(encoder_flags)
flags.adopt_module_key_flags(image_source)
flags.adopt_module_key_flags(ledger_flag)
flags.DEFINE_string("dataset", None, "digits, as without it, or a TensorFlow Datasets name.")
flags.DEFINE_integer("image_size", None, "Side of the images, where the encoder takes any.", 1)
flags.DEFINE_list("crop_area", ["0.08", "1"], "Kept by crops of training images, low and high.")
flags.DEFINE_float("flip_rate", 0.5, "Probability of mirroring a training image.", 0.0, 1.0)
flags.mark_flags_as_mutual_exclusive(["image_dir", "tfrecords", "dataset"])


def open_source(encoder):
    """The labelled images the flags name, and their side for this encoder."""
    image_size = image_size_of(encoder, FLAGS.image_size)
    source = image_source.open_source(FLAGS.dataset or "digits")
    if source.test is None:
        raise ValueError(f"{source.name} has no labels to evaluate with.")
    return source, image_size


def numbers(name):
    """The value of a flag that takes numbers."""
    try:
        return [float(text) for text in FLAGS[name].value]
    except ValueError:
        raise ValueError(
            f"--{name} takes numbers with commas between, got {','.join(FLAGS[name].value)}."
        ) from None


def open_view(image_size, seed):
    """The augmentation of training images the flags name."""
    return evaluation.crop_and_flip(image_size, numbers("crop_area"), FLAGS.flip_rate, seed)


def description(source):
    """What was evaluated and on what, for the result."""
    train, test = source.for_evaluation()
    return {
        "encoder_dir": FLAGS.encoder,
        "model": FLAGS.model,
        "dataset": source.name,
        "train_images": train.count,
        "test_images": test.count,
    }


def run(script, measure, arguments):
    """Prints what a script measures, or why it cannot; keeps it in the ledger, if there is one.

    Args:
        script: Name of the script.
        measure: Function without arguments that returns the result.
        arguments: What was given besides flags.
    """
    started = time.monotonic()
    try:
        if len(arguments) > 1:
            raise ValueError(f"unexpected arguments {arguments[1:]}; flags are --name=value.")
        ledger_flag.check()
        result = measure()
    except ERRORS as error:
        sys.exit(f"{script}: {error}")
    print(json.dumps(result))
    told = ("seed", "protocol", "encoder_dir", "model")
    ledger_flag.record(
        recipe=None,
        seed=result["seed"],
        minutes=(time.monotonic() - started) / 60,
        protocol=result["protocol"],
        figures={name: value for name, value in result.items() if name not in told},
    )
