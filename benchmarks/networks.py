"""Measures how good an encoder gets with given processor time, whatever its network.

    python benchmarks/networks.py --recipe=cifar10 --validation --encoder=conv4 --width=32 \\
        --processor_seconds=200,600,2400 >> results/networks.jsonl

Every field of a recipe is a flag. The time is that of all cores, counted without other programs, so
two runs may share a machine. It is that of the steps: compiling and scoring are not in it. Prints a
JSON line for each time. `python benchmarks/report.py` draws and tabulates them.
"""

from keras_bt import evaluation  # isort: split

import json
import sys
import time

import keras
import numpy as np
from absl import app, flags, logging
from settled import recipe_and_images

from keras_bt.cli.image_flags import IMAGES
from keras_bt.cli.recipe_flags import define_recipe_flags
from keras_bt.evaluation.scores import extract_source_features
from keras_bt.run import ledger

FLAGS = flags.FLAGS
define_recipe_flags(FLAGS)
flags.DEFINE_list("processor_seconds", ["200"], "Trains for each of these times, from new weights.")
flags.DEFINE_integer("seed", 0, "Seed of weights, order and views.")
flags.DEFINE_string(
    "workdir", "runs/networks", "Not written. A run begun there fixes its settings."
)
flags.mark_flags_as_mutual_exclusive(IMAGES)
WARM_UP_STEPS, MEASURED_STEPS = 5, 20
LEAVE_ONE_OUT_IMAGES = 8_000


def train(recipe, source, seed, processor_seconds):
    """Returns the steps and scores of a training of so many processor-seconds."""
    source = source.framed(recipe.framing)
    steps_per_epoch = source.train.count // recipe.batch_size

    def fit(steps):
        """Returns a model, and the processor-seconds of its steps after the first few."""
        keras.utils.set_random_seed(seed)
        model = recipe.build_model(seed)
        model.compile(
            recipe.build_optimizer(steps_per_epoch, steps),
            recipe.build_loss(),
            view_placement="compiled",
        )
        clock = Clock()
        batches = source.train.shuffled_batches(recipe.batch_size, recipe.load_size, seed)
        model.fit(batches, steps_per_epoch=steps, callbacks=[clock], verbose=0)
        return model, clock.seconds

    _, seconds = fit(WARM_UP_STEPS + MEASURED_STEPS)
    steps = max(WARM_UP_STEPS + 1, round(processor_seconds / seconds * MEASURED_STEPS))
    model, seconds = fit(steps)
    (features, labels), test = extract_source_features(model.encoder, source, recipe.image_size)
    return {
        "steps": steps,
        "epochs": round(steps / steps_per_epoch, 1),
        "processor_seconds": round(seconds, 1),
        "parameters": int(model.encoder.count_params()),
        "knn_accuracy": evaluation.knn_accuracy(features, labels, *test),
        "linear_accuracy": evaluation.linear_probe(features, labels, *test),
        "leave_one_out_accuracy": leave_one_out(features, labels),
    }


class Clock(keras.callbacks.Callback):
    """Processor-seconds of all steps but the first few."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == WARM_UP_STEPS - 1:
            float(logs["loss"])  # waits for the step
            self.started = time.process_time()

    def on_train_end(self, logs=None):
        self.seconds = time.process_time() - self.started


def leave_one_out(features, labels, k=200, temperature=0.1):
    """Returns the k-NN accuracy of training images among the others."""
    spaced = np.linspace(0, len(features) - 1, min(len(features), LEAVE_ONE_OUT_IMAGES)).astype(int)
    features, labels = features[spaced], labels[spaced]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    classes, numbers = np.unique(labels, return_inverse=True)
    similarities = features @ features.T
    np.fill_diagonal(similarities, -np.inf)
    nearest = np.argpartition(similarities, -k, axis=1)[:, -k:]
    weights = np.exp(np.take_along_axis(similarities, nearest, axis=1) / temperature)
    votes = np.zeros([len(features), len(classes)])
    np.add.at(votes, (np.arange(len(features))[:, None], numbers[nearest]), weights)
    return float(np.mean(votes.argmax(1) == numbers))


def main(arguments):
    """Trains once for each time, and prints a line for each."""
    try:
        seconds = sorted(map(float, FLAGS.processor_seconds))
        recipe, source = recipe_and_images(FLAGS, arguments)
    except (ValueError, OSError) as error:
        sys.exit(f"networks: {error}")
    for each in seconds:
        row = {
            **ledger.circumstances(None),
            "seed": FLAGS.seed,
            "images": source.name,
            "asked_seconds": each,
            **train(recipe, source, FLAGS.seed, each),
            "settings": recipe.settings(),
        }
        print(json.dumps(row, allow_nan=False), flush=True)


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(main)
