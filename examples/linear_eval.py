"""Scores an encoder on labelled images, nothing in it being trained.

    python examples/linear_eval.py --encoder=runs/digits/encoder --dataset=digits
    python examples/linear_eval.py --encoder=runs/digits/encoder --protocol=sgd --epochs=100

The first takes seconds on digits: k-NN, linear probe, ten labels a class. The second is the
published protocol: a linear classifier by SGD on augmented images. The images are a data set's
or a folder's own held-out part. The last line of stdout is the result as JSON, with the
protocol of each figure in words.
"""

import functools
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import encoder_flags
import encoder_source
from absl import app, flags, logging

from keras_bt import evaluation

FLAGS = flags.FLAGS

flags.adopt_module_key_flags(encoder_source)
flags.DEFINE_enum(
    "protocol",
    "exact",
    ["exact", "sgd"],
    "exact: k-NN and logistic regression on the images as they are. sgd: as published, a linear "
    "classifier trained by SGD on augmented images.",
)
flags.DEFINE_integer("epochs", None, "Of --protocol=sgd; 100 without it.", 1)
flags.DEFINE_integer("seed", 0, "Of --protocol=sgd.", 0)
flags.DEFINE_bool("knn_sweep", False, "Add the k-NN accuracy for many k and temperatures.")

EXACT = {
    "knn_accuracy": "offline, frozen encoder: vote of the 200 nearest of all training images by "
    "cosine, temperature 0.1; accuracy on all held-out images",
    "linear_accuracy": "offline, frozen encoder: logistic regression on all training images, its "
    "penalty chosen on them alone; accuracy on all held-out images",
    "few_label_accuracy": "offline, frozen encoder: the same on 10 training images a class, mean "
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


def measure():
    """The result."""
    for name in ("epochs", "seed", "crop_area", "flip_rate"):
        if FLAGS[name].present and FLAGS.protocol != "sgd":
            raise ValueError(f"--{name} goes with --protocol=sgd.")
    encoder = encoder_flags.open_encoder()
    source, image_size = encoder_source.open_source(encoder)
    figures, protocol = {}, {}
    if FLAGS.protocol == "exact" or FLAGS.knn_sweep:
        train, test = evaluation.extract_source_features(encoder, source, image_size)
    if FLAGS.protocol == "exact":
        figures |= evaluation.score_representations(*train, *test)
        protocol |= EXACT
    else:
        figures["linear_sgd"] = evaluation.linear_evaluation(
            encoder,
            *source.for_evaluation(),
            classes=source.classes,
            image_size=image_size,
            view=encoder_source.open_view(image_size, FLAGS.seed),
            epochs=FLAGS.epochs or 100,
            seed=FLAGS.seed,
        )
        protocol["linear_sgd"] = SGD
    if FLAGS.knn_sweep:
        figures["knn_sweep"] = [
            {"k": k, "temperature": temperature, "accuracy": accuracy}
            for (k, temperature), accuracy in evaluation.knn_sweep(*train, *test).items()
        ]
        protocol["knn_sweep"] = SWEEP
    seed = {"seed": FLAGS.seed}
    return {**encoder_source.description(source), **seed, **figures, "protocol": protocol}


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(functools.partial(encoder_source.run, "linear_eval", measure))
