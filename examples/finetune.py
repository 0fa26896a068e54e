"""Fine-tunes an encoder on parts of the labels: the published semi-supervised protocol.

    python examples/finetune.py --encoder=runs/digits/encoder --fractions=0.01,0.1,1.0
    python examples/finetune.py --model=runs/digits/model.keras --from_scratch

For each fraction the encoder and a linear classifier are trained on that part of each class, and
beside it a linear probe of the frozen encoder on the same images says what fine-tuning adds. The
second trains the same architecture from random weights, so that one sees what pretraining adds.
The last line of stdout is the result as JSON, with the protocol of each figure in words.
"""

import functools
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import encoder_flags
import encoder_source
import keras
import numpy as np
from absl import app, flags, logging

from keras_bt import evaluation
from keras_bt._support.variables import restored

FLAGS = flags.FLAGS
# The published ones are for a pretrained encoder, which is to move little. A new one has to learn
# as fast as its classifier: 0.1 is the usual rate of SGD for 256 images.
LEARNING_RATES = {"encoder_learning_rate": 0.005, "head_learning_rate": 0.5}
FROM_SCRATCH_LEARNING_RATES = {"encoder_learning_rate": 0.1, "head_learning_rate": 0.1}

flags.adopt_module_key_flags(encoder_source)
flags.DEFINE_list("fractions", ["0.01", "0.1", "1.0"], "Parts of the labels, in (0, 1].")
flags.DEFINE_integer("seed", 0, "Of the parts, the classifier and the augmentation.", 0, 2**31 - 1)
flags.DEFINE_integer("epochs", None, "Without it 20, or as many as make 1,000 steps.", 1)
flags.DEFINE_float("encoder_learning_rate", None, "0.005 without it; 0.1 from scratch.", 0.0)
flags.DEFINE_float("head_learning_rate", None, "0.5 without it; 0.1 from scratch.", 0.0)
flags.DEFINE_bool("from_scratch", False, "Train the architecture of --model from random weights.")

PROTOCOL = {
    "linear_accuracy": "offline, frozen encoder: logistic regression on these images, its penalty "
    "chosen on them alone; accuracy on all held-out images; null where no class has two "
    "images, and from scratch",
    "top1, top5": "offline: encoder in training mode and linear classifier by SGD on these images, "
    "cropped and mirrored by crop_area and flip_rate (as published: 0.08 to 1, and 0.5); "
    "accuracies of the last epoch on all held-out images",
}


def fractions_of_flags():
    """The fractions, in the order given."""
    fractions = encoder_source.numbers("fractions")
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions):
        raise ValueError(f"--fractions takes numbers in (0, 1], got {fractions}.")
    return fractions


def learning_rates_of_flags():
    """The two learning rates of `fine_tune`, by its names."""
    defaults = FROM_SCRATCH_LEARNING_RATES if FLAGS.from_scratch else LEARNING_RATES
    given = {name: FLAGS[name].value for name in defaults}
    return {
        name: default if given[name] is None else given[name] for name, default in defaults.items()
    }


def open_encoder():
    """The encoder to train; with --from_scratch one like it, with weights of the seed."""
    if not FLAGS.from_scratch:
        return encoder_flags.open_encoder(trainable=True)
    if FLAGS.model is None:
        raise ValueError("--from_scratch needs --model: an exported encoder has no architecture.")
    keras.utils.set_random_seed(FLAGS.seed)
    return keras.models.clone_model(encoder_flags.open_encoder())


def probe(train, train_labels, test, test_labels):
    """The linear probe; None from scratch, or where no class has the two images it needs."""
    if FLAGS.from_scratch or np.bincount(train_labels).max() < 2:
        return None
    return evaluation.linear_probe(train, train_labels, test, test_labels)


def table_row(fraction, images, linear_accuracy, epochs, steps, top1, top5):
    """One line of the table of progress."""
    linear = "-" if linear_accuracy is None else f"{linear_accuracy:.3f}"
    counts = f"{fraction:8g}  {images:6d}  {epochs:6d}  {steps:5d}"
    return f"{counts}  {linear:>6}  {top1:6.3f}  {top5:6.3f}"


def tune(encoder, images, held_out, source, image_size, view):
    """The figures of `fine_tune` on some images; encoder and view are left as they were."""
    with restored([*encoder.variables, *view.variables]):
        return evaluation.fine_tune(
            encoder,
            images,
            held_out,
            classes=source.classes,
            image_size=image_size,
            view=view,
            epochs=FLAGS.epochs,
            seed=FLAGS.seed,
            **learning_rates_of_flags(),
        )


def measure():
    """The result."""
    fractions, encoder = fractions_of_flags(), open_encoder()
    source, image_size = encoder_source.open_source(encoder)
    view = encoder_source.open_view(image_size, FLAGS.seed)
    labelled, held_out = source.for_evaluation()
    (train, train_labels), test = evaluation.extract_source_features(encoder, source, image_size)
    rows = []
    print("fraction  images  epochs  steps  linear   top-1   top-5", file=sys.stderr)
    for fraction in fractions:
        chosen = evaluation.labelled_subset(train_labels, fraction, FLAGS.seed)
        row = {
            "fraction": fraction,
            "images": len(chosen),
            "linear_accuracy": probe(train[chosen], train_labels[chosen], *test),
            **tune(encoder, labelled.chosen(chosen), held_out, source, image_size, view),
        }
        rows.append(row)
        print(table_row(**row), file=sys.stderr)
    return {
        **encoder_source.description(source),
        "from_scratch": FLAGS.from_scratch,
        "seed": FLAGS.seed,
        **learning_rates_of_flags(),
        "fractions": rows,
        "protocol": PROTOCOL,
    }


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(functools.partial(encoder_source.run, "finetune", measure))
