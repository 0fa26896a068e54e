"""Measures how good an encoder is: k-NN, linear probe, few labels.

    keras-bt evaluate --encoder=runs/digits/encoder --dataset=digits
    keras-bt evaluate --encoder=runs/photos/encoder --image_dir=photos
    keras-bt evaluate --encoder=runs/digits/encoder --protocol=sgd --epochs=100

The encoder is frozen. The first two commands take seconds on small data. The third uses the
published linear protocol: SGD trains a classifier on augmented images. Accuracies are measured on
the held-out images of the data set or folder. The last line of stdout is the result as JSON, with
the protocol of each metric in words.
"""

from typing import Any

from absl.flags import FlagValues

from keras_bt import evaluation
from keras_bt.cli.command import Command, FlagGroup
from keras_bt.cli.encoder_flags import open_encoder
from keras_bt.cli.evaluation_flags import (
    EXCLUSIVE,
    define_evaluation_flags,
    description,
    open_labelled,
    open_view,
    print_result,
)

EXACT = {
    "knn_accuracy": "offline, frozen encoder: vote of the 200 nearest of all training images (a "
    "fifth of fewer than 1,000) by cosine, temperature 0.1; accuracy on all held-out images",
    "linear_accuracy": "offline, frozen encoder: logistic regression on all training images, its "
    "penalty chosen on them alone; accuracy on all held-out images",
    "few_label_accuracy": "offline, frozen encoder: the same on 10 training images per class, mean "
    "of 5 draws; accuracy on all held-out images",
}
SGD = (
    "offline, frozen encoder: linear classifier by SGD on all training images, cropped and "
    "mirrored by crop_area and flip_rate (as published: 0.08 to 1, and 0.5); accuracies of the "
    "last epoch on all held-out images"
)
SWEEP = (
    "offline, frozen encoder: vote of the k nearest of all training images by cosine, with weights "
    "exp(cosine / temperature); accuracy on all held-out images. Report a pair fixed beforehand: "
    "the best one is chosen on the held-out images"
)


def _define_flags(values: FlagValues) -> None:
    define_evaluation_flags(values)
    protocol = FlagGroup(values, "Protocol")
    protocol.enum(
        "protocol",
        "exact",
        ("exact", "sgd"),
        "exact: k-NN and logistic regression on the images as they are. sgd: the published linear "
        "classifier, trained by SGD on augmented images.",
    )
    protocol.integer("epochs", None, "Epochs of --protocol=sgd; 100 by default.", 1)
    protocol.integer("seed", 0, "Seed of --protocol=sgd.", 0)
    protocol.bool("knn_sweep", "Add the k-NN accuracy for many k and temperatures.")


def measure(flags: FlagValues) -> dict[str, Any]:
    """The result of the command."""
    for name in ("epochs", "seed", "crop_area", "flip_rate"):
        if flags[name].present and flags.protocol != "sgd":
            raise ValueError(f"--{name} needs --protocol=sgd.")
    encoder = open_encoder(flags)
    images = open_labelled(flags, encoder)
    metrics: dict[str, Any] = {}
    protocol: dict[str, str] = {}
    if flags.protocol == "exact" or flags.knn_sweep:
        train, test = evaluation.extract_source_features(encoder, images.source, images.image_size)
    if flags.protocol == "exact":
        metrics |= evaluation.score_features(*train, *test)
        protocol |= EXACT
    else:
        metrics["linear_sgd"] = evaluation.linear_evaluation(
            encoder,
            images.train,
            images.test,
            classes=images.classes,
            image_size=images.image_size,
            view=open_view(flags, images.image_size),
            epochs=flags.epochs or 100,
            seed=flags.seed,
        )
        protocol["linear_sgd"] = SGD
    if flags.knn_sweep:
        metrics["knn_sweep"] = [
            {"k": k, "temperature": temperature, "accuracy": accuracy}
            for (k, temperature), accuracy in evaluation.knn_sweep(*train, *test).items()
        ]
        protocol["knn_sweep"] = SWEEP
    seed = {"seed": flags.seed}
    return {**description(flags, images), **seed, **metrics, "protocol": protocol}


COMMAND = Command(
    name="evaluate",
    doc=__doc__,
    define_flags=_define_flags,
    run=lambda invocation: print_result(invocation, measure),
    first=("encoder", "model", "image_dir", "dataset", "data_dir", "image_size", "protocol"),
    exclusive=EXCLUSIVE,
)
main = COMMAND.main
