"""Measures how fast an encoder learns: its k-NN accuracy after given numbers of steps.

    python benchmarks/first_steps.py --recipe=cifar10 --width=16 --validation --label=squares
    python benchmarks/first_steps.py --recipe=cifar10 --width=16 --validation --label="log det" \\
        --redundancy=log_determinant --redundancy_weight=1 --projector_dims=512,128

Every field of a recipe is a flag. The learning rate falls over the last number of --steps. Prints a
JSON line for each seed; `python benchmarks/first_steps.py ... >> results/first_steps.jsonl` adds
to those that `python benchmarks/report.py` draws and tabulates. The seconds are those of training,
with compiling, without scoring.
"""

from keras_bt import evaluation  # isort: split

import json
import sys
import time

import keras
from absl import app, flags, logging
from settled import recipe_and_images

from keras_bt.cli.image_flags import IMAGES
from keras_bt.cli.recipe_flags import define_recipe_flags
from keras_bt.evaluation.scores import extract_source_features
from keras_bt.functional.spectrum import effective_rank
from keras_bt.model.view_placement import better_placement
from keras_bt.run import ledger

FLAGS = flags.FLAGS
define_recipe_flags(FLAGS)
flags.DEFINE_list("steps", ["100", "300", "1000"], "Numbers of steps after which to score.")
flags.DEFINE_list("seeds", ["0"], "The recipe is trained with each of these seeds.")
flags.DEFINE_string("label", "", "Name of these settings in the table.")
flags.DEFINE_string(
    "workdir", "runs/first_steps", "Not written. A run begun there fixes its settings."
)
flags.mark_flags_as_mutual_exclusive(IMAGES)


class Scores(keras.callbacks.Callback):
    """Scores the encoder after given numbers of steps, and counts the time of all others."""

    def __init__(self, steps, score):
        super().__init__()
        self.steps, self.score = steps, score
        self.step, self.seconds, self.scores = 0, 0.0, []

    def on_train_begin(self, logs=None):
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self.step in self.steps:
            self.seconds += time.perf_counter() - self.started
            scores = {"step": self.step, "seconds": round(self.seconds, 1), **self.score()}
            self.scores.append({**scores, "loss": float(logs["loss"])})
            self.started = time.perf_counter()


def train(recipe, source, seed, steps):
    """Returns the scores before training and after each number of steps."""
    source = source.framed(recipe.framing)
    keras.utils.set_random_seed(seed)
    model = recipe.build_model(seed)
    model.compile(
        recipe.build_optimizer(source.train.count // recipe.batch_size, steps[-1]),
        recipe.build_loss(),
        view_placement=better_placement(steps[-1] * recipe.batch_size, recipe.side_of_views**2),
    )

    def score():
        (features, labels), test = extract_source_features(model.encoder, source, recipe.image_size)
        embeddings = model.projector.predict(features, batch_size=1024, verbose=0)
        return {
            "knn_accuracy": evaluation.knn_accuracy(features, labels, *test),
            "embedding_rank": float(effective_rank(embeddings - embeddings.mean(0))),
        }

    untrained = {"step": 0, "seconds": 0.0, **score()}
    scores = Scores(steps, score)
    batches = source.train.shuffled_batches(recipe.batch_size, recipe.load_size, seed)
    model.fit(batches, steps_per_epoch=steps[-1], callbacks=[scores], verbose=0)
    return [untrained, *scores.scores]


def main(arguments):
    """Trains once for each seed, and prints a line for each."""
    try:
        numbers = (*FLAGS.steps, *FLAGS.seeds)
        steps = sorted(int(each) for each in FLAGS.steps if each.isdigit())
        if not all(each.isdigit() for each in numbers) or min(steps, default=0) < 1:
            raise ValueError("--steps must be integers of at least 1, --seeds of at least 0.")
        recipe, source = recipe_and_images(FLAGS, arguments)
    except (ValueError, OSError) as error:
        sys.exit(f"first_steps: {error}")
    for seed in map(int, FLAGS.seeds):
        row = {
            **ledger.circumstances(None),
            "label": FLAGS.label or recipe.name,
            "seed": seed,
            "images": source.name,
            "scores": train(recipe, source, seed, steps),
            "settings": recipe.settings(),
        }
        print(json.dumps(row, allow_nan=False), flush=True)


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(main)
