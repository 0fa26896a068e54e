"""Pretrains an encoder on images without labels.

    python examples/pretrain.py --recipe=digits --workdir=runs/digits
    python examples/pretrain.py --image_dir=photos --workdir=runs/photos
    python -m keras_bt.launch --workers=2 -- examples/pretrain.py --recipe=digits

The first needs no network and takes about two minutes on two CPU cores. Every field of a
recipe is a flag; the last line of stdout is the result as JSON. Started again on the same
folder it goes on from its last checkpoint.
"""

import contextlib
import json
import logging
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import device_flags
import image_source
import keras
import recipe_flags
import tensorflow as tf
from absl import app, flags
from absl import logging as absl_logging

import keras_bt
from keras_bt import distribute, evaluation, run, workers
from keras_bt.checkpoint import CheckpointError

FLAGS = flags.FLAGS

flags.adopt_module_key_flags(device_flags)
flags.adopt_module_key_flags(image_source)
flags.adopt_module_key_flags(recipe_flags)
flags.DEFINE_string("workdir", None, "Folder of the run; runs/RECIPE without it.")
flags.DEFINE_integer("seed", 0, "Seed of weights, order and views.", 0, 2**32 - 1)
flags.DEFINE_float(
    "minutes", None, "Train for so long instead of for the recipe's epochs.", lower_bound=0.01
)
flags.DEFINE_bool(
    "deterministic", False, "Repeat to the last bit: compiles the step with XLA, slower on CPU."
)
flags.DEFINE_float("checkpoint_minutes", 5.0, "Between checkpoints, at ends of epochs.", 0.0)
MONITORED = 40  # k-NN looks during a run, at the most
flags.mark_flags_as_mutual_exclusive(["image_dir", "tfrecords", "dataset"])
flags.mark_flags_as_mutual_exclusive(["epochs", "minutes"])


def settings_of_flags(recipe):
    """Everything that decides the run, for run.json; the number of devices does not."""
    names = ("image_dir", "tfrecords", "seed", "minutes", "deterministic")
    return {**recipe.settings(), **{name: FLAGS[name].value for name in names}}


def prepare(strategy):
    """Meets wrong flags, folders and images before anything is computed or written."""
    default = "cifar10" if FLAGS.image_dir or FLAGS.tfrecords else "digits"
    recipe = workers.together(strategy, lambda: recipe_flags.recipe_of_flags(default))
    workers.check_agreement(strategy, settings_of_flags(recipe))
    workdir = FLAGS.workdir or f"runs/{recipe.name}"
    source = workers.chief_first(
        strategy, lambda: image_source.open_source(recipe.dataset, workdir)
    )

    def build():
        if FLAGS.deterministic and strategy.num_replicas_in_sync > 1:
            raise ValueError("--deterministic needs a single device; see --strategy=one.")
        keras.utils.set_random_seed(FLAGS.seed)
        with strategy.scope():
            model = recipe.build_model(FLAGS.seed)
        batches(strategy, recipe, source)
        compile_for(strategy, recipe, model, recipe.epochs, source.train.count // recipe.batch_size)
        floor = keras_bt.loss_floor(
            recipe.batch_size, recipe.projector_dims[-1], recipe.redundancy_weight
        )
        return model, floor

    model, floor = workers.together(strategy, build)
    chief = workers.is_chief(strategy)
    folder = workers.together(
        strategy, lambda: run.RunFolder(workdir, settings_of_flags(recipe), writes=chief)
    )
    return recipe, model, floor, source, folder


def batches(strategy, recipe, source, first_step=0):
    def of_worker(context):
        return source.train.shuffled_batches(
            recipe.batch_size, recipe.load_size, FLAGS.seed, first_step, context
        )

    return distribute.batches(strategy, of_worker)


def compile_for(strategy, recipe, model, epochs, steps_per_epoch):
    with strategy.scope():
        optimizer = recipe.build_optimizer(steps_per_epoch, epochs * steps_per_epoch)
        model.compile(optimizer, recipe.build_loss(), jit_compile=FLAGS.deterministic)


def train(strategy, recipe, model, floor, source, folder):
    """Trains, from the last checkpoint on; returns what the result says of it."""
    epochs, steps_per_epoch = recipe.epochs, source.train.count // recipe.batch_size
    if FLAGS.minutes:
        measured = batches(strategy, recipe, source)
        epochs, steps_per_epoch = run.epochs_in(
            FLAGS.minutes, model, measured, steps_per_epoch, folder
        )
        compile_for(strategy, recipe, model, epochs, steps_per_epoch)
    resumable = keras_bt.ResumableTraining(
        folder.checkpoints, FLAGS.checkpoint_minutes, writes=folder.writes
    )
    first_epoch = resumable.restore(model)
    first_step = first_epoch * steps_per_epoch
    callbacks = [run.StopAtNonFinite(), resumable]
    if folder.writes:
        folder.keep_metrics(first_epoch)
        callbacks[1:1] = [
            *evaluation.monitors(source, recipe.image_size, -(-epochs // MONITORED)),
            run.MetricsLog(folder.metrics, steps_per_epoch, resumable.seconds),
            run.ProgressBar(epochs * steps_per_epoch, floor, first_step),
        ]
    model.fit(
        batches(strategy, recipe, source, first_step),
        epochs=epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=steps_per_epoch,
        callbacks=callbacks,
        verbose=0,
    )
    images = epochs * steps_per_epoch * recipe.batch_size
    return {
        "steps": epochs * steps_per_epoch,
        "epochs": epochs,
        "batch_size": recipe.batch_size,
        "replicas": strategy.num_replicas_in_sync,
        "seconds": round(resumable.seconds, 1),
        "images_per_second": round(images / resumable.seconds, 1),
        "loss_floor": floor,
    }


def refuse(error, strategy=None):
    """Ends all workers with a message, and a status that tells keras_bt.launch not to try again."""
    if strategy is None or workers.is_chief(strategy):
        print(f"pretrain: {error}", file=sys.stderr)
    if strategy is not None:
        with contextlib.suppress(tf.errors.OpError):
            workers.leave_together(strategy, timeout_seconds=30.0)
    sys.exit(2)


def main(arguments):
    strategy = None
    try:
        if len(arguments) > 1:
            raise ValueError(f"unexpected arguments {arguments[1:]}; flags are --name=value.")
        strategy = device_flags.strategy_of_flags()
        recipe, model, floor, source, folder = prepare(strategy)
    except (ValueError, OSError) as error:
        refuse(error, strategy)
    if workers.collect(strategy, folder.result())[0]:
        if folder.writes:
            print(f"{folder.path} holds the finished run.", file=sys.stderr)
            print(json.dumps(folder.result()))
        workers.leave_together(strategy)
        return

    scores = {}
    if folder.writes:
        logging.getLogger("keras_bt").setLevel(logging.INFO)
        scores["pixels"] = evaluation.score_pixels(source, recipe.image_size)
        scores["untrained"] = evaluation.score_untrained(model.encoder, source, recipe.image_size)
    try:
        training = train(strategy, recipe, model, floor, source, folder)
    except (FloatingPointError, CheckpointError) as error:
        refuse(error, strategy)
    if folder.writes:
        folder.save_model(model)  # before scoring: whatever fails there, the training stays
        scores["trained"] = evaluation.score(model.encoder, source, recipe.image_size)
        result = {
            "recipe": recipe.name,
            "dataset": source.name,
            "images": source.train.count,
            **training,
            "loss": folder.last_metrics()["loss"],
            "encoder_dir": str(folder.encoder),
            "seed": FLAGS.seed,
            **scores,
        }
        keras_bt.export_encoder(model.encoder, folder.encoder, metadata=result, overwrite=True)
        folder.write_result(result)
        print(json.dumps(result))
    workers.leave_together(strategy)


if __name__ == "__main__":
    absl_logging.set_verbosity(absl_logging.WARNING)
    app.run(main)
