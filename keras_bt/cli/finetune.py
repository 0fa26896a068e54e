"""Fine-tunes an encoder on fractions of the labels, beside a linear probe.

    keras-bt finetune --encoder=runs/digits/encoder --fractions=0.01,0.1,1.0
    keras-bt finetune --model=runs/digits/model.keras --from_scratch

For each fraction of each class, the published semi-supervised protocol trains the encoder and a
linear classifier. A linear probe of the frozen encoder on the same images shows what fine-tuning
adds. The second command trains the same architecture from random weights, which shows what
pretraining adds. The last line of stdout is the result as JSON, with the protocol of each metric
in words.
"""

import sys
from typing import Any

import keras
import numpy as np
from absl.flags import FlagValues

from keras_bt import evaluation
from keras_bt._support.variables import restored
from keras_bt.cli.command import Command, FlagGroup
from keras_bt.cli.encoder_flags import open_encoder
from keras_bt.cli.evaluation_flags import (
    EXCLUSIVE,
    define_evaluation_flags,
    description,
    numbers,
    open_labelled,
    open_view,
    print_result,
)

# The published rates are for a pretrained encoder, which should change little. A new encoder has
# to learn as fast as its classifier: 0.1 is the usual rate of SGD for 256 images.
LEARNING_RATES = (0.005, 0.5)  # of the encoder and of the head
FROM_SCRATCH_LEARNING_RATES = (0.1, 0.1)

PROTOCOL = {
    "linear_accuracy": "offline, frozen encoder: logistic regression on these images, its penalty "
    "chosen on them alone; accuracy on all held-out images; null where no class has two "
    "images, and from scratch",
    "top1, top5": "offline: encoder in training mode and linear classifier by SGD on these images, "
    "cropped and mirrored by crop_area and flip_rate (as published: 0.08 to 1, and 0.5); "
    "accuracies of the last epoch on all held-out images",
}


def _define_flags(values: FlagValues) -> None:
    define_evaluation_flags(values)
    training = FlagGroup(values, "Training")
    training.list("fractions", ["0.01", "0.1", "1.0"], "Fractions of the labels, in (0, 1].")
    training.integer(
        "seed", 0, "Seed of the subsets, the classifier and the augmentation.", 0, 2**31 - 1
    )
    training.integer("epochs", None, "20 by default, or more, to make at least 1,000 steps.", 1)
    training.float("encoder_learning_rate", None, "0.005 by default; 0.1 from scratch.", 0.0)
    training.float("head_learning_rate", None, "0.5 by default; 0.1 from scratch.", 0.0)
    training.bool("from_scratch", "Train the architecture of --model from random weights.")


def measure(flags: FlagValues) -> dict[str, Any]:
    """The result of the command."""
    fractions, encoder = _fractions(flags), _open_encoder(flags)
    images = open_labelled(flags, encoder)
    view = open_view(flags, images.image_size)
    (train, train_labels), test = evaluation.extract_source_features(
        encoder, images.source, images.image_size
    )
    encoder_rate, head_rate = _learning_rates(flags)
    rows = []
    print("fraction  images  epochs  steps  linear   top-1   top-5", file=sys.stderr)
    for fraction in fractions:
        chosen = evaluation.labelled_subset(train_labels, fraction, flags.seed)
        with restored([*encoder.variables, *view.variables]):
            tuned = evaluation.fine_tune(
                encoder,
                images.train.chosen(chosen),
                images.test,
                classes=images.classes,
                image_size=images.image_size,
                view=view,
                epochs=flags.epochs,
                seed=flags.seed,
                encoder_learning_rate=encoder_rate,
                head_learning_rate=head_rate,
            )
        row: dict[str, Any] = {
            "fraction": fraction,
            "images": len(chosen),
            "linear_accuracy": _probe(flags, train[chosen], train_labels[chosen], *test),
            **tuned,
        }
        rows.append(row)
        print(_table_row(**row), file=sys.stderr)
    return {
        **description(flags, images),
        "from_scratch": flags.from_scratch,
        "seed": flags.seed,
        "encoder_learning_rate": encoder_rate,
        "head_learning_rate": head_rate,
        "fractions": rows,
        "protocol": PROTOCOL,
    }


def _fractions(flags: FlagValues) -> tuple[float, ...]:
    fractions = numbers(flags, "fractions")
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions):
        raise ValueError(f"--fractions takes numbers in (0, 1], got {list(fractions)}.")
    return fractions


def _learning_rates(flags: FlagValues) -> list[float]:
    """The learning rates of encoder and head."""
    given = (flags.encoder_learning_rate, flags.head_learning_rate)
    defaults = FROM_SCRATCH_LEARNING_RATES if flags.from_scratch else LEARNING_RATES
    return [
        default if rate is None else rate for rate, default in zip(given, defaults, strict=True)
    ]


def _open_encoder(flags: FlagValues) -> keras.Layer:
    """The encoder to train; with --from_scratch, its architecture with random weights."""
    if not flags.from_scratch:
        return open_encoder(flags, trainable=True)
    if flags.model is None:
        raise ValueError("--from_scratch needs --model: an exported encoder has no architecture.")
    keras.utils.set_random_seed(flags.seed)
    return keras.models.clone_model(open_encoder(flags))


def _probe(
    flags: FlagValues,
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
) -> float | None:
    """The linear probe; None with --from_scratch, or if no class has two images."""
    if flags.from_scratch or np.bincount(train_labels).max() < 2:
        return None
    return evaluation.linear_probe(train, train_labels, test, test_labels)


def _table_row(
    fraction: float,
    images: int,
    linear_accuracy: float | None,
    epochs: int,
    steps: int,
    top1: float,
    top5: float,
) -> str:
    """One line of the table on stderr."""
    linear = "-" if linear_accuracy is None else f"{linear_accuracy:.3f}"
    counts = f"{fraction:8g}  {images:6d}  {epochs:6d}  {steps:5d}"
    return f"{counts}  {linear:>6}  {top1:6.3f}  {top5:6.3f}"


COMMAND = Command(
    name="finetune",
    doc=__doc__,
    define_flags=_define_flags,
    run=lambda invocation: print_result(invocation, measure),
    first=("encoder", "model", "image_dir", "dataset", "data_dir", "image_size", "fractions")
    + ("epochs", "from_scratch"),
    exclusive=EXCLUSIVE,
)
main = COMMAND.main
