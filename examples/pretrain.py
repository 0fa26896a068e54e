"""Pretrains an encoder on images without labels.

    python examples/pretrain.py --recipe=digits --workdir=runs/digits
    python examples/pretrain.py --image_dir=photos --workdir=runs/photos

The first needs no network and takes about two minutes on two CPU cores. Every field of a
recipe is a flag; the last line of stdout is the result as JSON.
"""

import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import image_source
import keras
import recipe_flags
from absl import app, flags, logging

import keras_bt
from keras_bt import evaluation, run

FLAGS = flags.FLAGS

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
MONITORED = 40  # k-NN looks during a run, at the most
flags.mark_flags_as_mutual_exclusive(["image_dir", "tfrecords", "dataset"])
flags.mark_flags_as_mutual_exclusive(["epochs", "minutes"])


def settings_of_flags(recipe):
    """Everything that decides the run, for run.json."""
    names = ("image_dir", "tfrecords", "seed", "minutes", "deterministic")
    return {**recipe.settings(), **{name: FLAGS[name].value for name in names}}


def prepare():
    """Meets wrong flags, folders and images before anything is computed or written."""
    try:
        own_images = FLAGS.image_dir or FLAGS.tfrecords
        recipe = recipe_flags.recipe_of_flags(default="cifar10" if own_images else "digits")
        keras.utils.set_random_seed(FLAGS.seed)
        model = recipe.build_model(FLAGS.seed)
        floor = keras_bt.loss_floor(
            recipe.batch_size, recipe.projector_dims[-1], recipe.redundancy_weight
        )
        source = image_source.open_source(recipe.dataset)
        batches = source.train.shuffled_batches(recipe.batch_size, recipe.load_size, FLAGS.seed)
        workdir = FLAGS.workdir or f"runs/{recipe.name}"
        folder = run.RunFolder(workdir, settings_of_flags(recipe))
    except (ValueError, OSError) as error:
        sys.exit(f"pretrain: {error}")
    return recipe, model, floor, source, batches, folder


def main(arguments):
    if len(arguments) > 1:
        sys.exit(f"pretrain: unexpected arguments {arguments[1:]}; flags are --name=value.")
    recipe, model, floor, source, batches, folder = prepare()
    if folder.result():
        print(f"{folder.path} holds the finished run.", file=sys.stderr)
        print(json.dumps(folder.result()))
        return

    steps_per_epoch = source.train.count // recipe.batch_size
    epochs = recipe.epochs

    def compile_for(total_steps):
        optimizer = recipe.build_optimizer(steps_per_epoch, total_steps)
        model.compile(optimizer, recipe.build_loss(), jit_compile=FLAGS.deterministic)

    compile_for(epochs * steps_per_epoch)
    if FLAGS.minutes:
        steps = run.steps_in(FLAGS.minutes, model, batches)
        epochs = max(1, round(steps / steps_per_epoch))
        steps_per_epoch = -(-steps // epochs)
        compile_for(epochs * steps_per_epoch)

    pixels = evaluation.score_pixels(source, recipe.image_size)
    untrained = evaluation.score_untrained(model.encoder, source, recipe.image_size)

    callbacks = [
        run.StopAtNonFinite(),
        run.MetricsLog(folder.metrics, steps_per_epoch),
        run.ProgressBar(epochs * steps_per_epoch, floor),
    ]
    if source.test:
        held_in, held_out = (
            images.at_most(limit).batches(evaluation.BATCH_SIZE, recipe.image_size)
            for images, limit in ((source.train, 10_000), (source.test, 2_000))
        )
        every_epochs = -(-epochs // MONITORED)
        callbacks.insert(1, keras_bt.KNNMonitor(held_in, held_out, every_epochs))

    began = time.perf_counter()
    try:
        history = model.fit(
            batches, epochs=epochs, steps_per_epoch=steps_per_epoch, callbacks=callbacks, verbose=0
        ).history
    except FloatingPointError as error:
        sys.exit(f"pretrain: {error}")
    seconds = time.perf_counter() - began
    folder.save_model(model)  # before scoring: whatever fails there, the training stays

    steps = epochs * steps_per_epoch
    result = {
        "recipe": recipe.name,
        "dataset": source.name,
        "images": source.train.count,
        "steps": steps,
        "epochs": epochs,
        "batch_size": recipe.batch_size,
        "seconds": round(seconds, 1),
        "images_per_second": round(steps * recipe.batch_size / seconds, 1),
        "loss": history["loss"][-1],
        "loss_floor": floor,
        "encoder_dir": str(folder.encoder),
        "seed": FLAGS.seed,
        "pixels": pixels,
        "untrained": untrained,
        "trained": evaluation.score(model.encoder, source, recipe.image_size),
    }
    keras_bt.export_encoder(model.encoder, folder.encoder, metadata=result, overwrite=True)
    folder.write_result(result)
    print(json.dumps(result))


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(main)
