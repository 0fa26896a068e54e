"""Pretrains an encoder on images without labels.

    python examples/pretrain.py --recipe=digits --workdir=runs/digits
    python examples/pretrain.py --image_dir=photos --workdir=runs/photos
    python -m keras_bt.distribution.launch --workers=2 -- examples/pretrain.py --recipe=digits

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
import ledger_flag
import recipe_and_source
import tensorflow as tf
from absl import app, flags
from absl import logging as absl_logging

from keras_bt import report, run
from keras_bt.distribution import workers
from keras_bt.model import view_placement as placement
from keras_bt.training import profiling as profile
from keras_bt.training import resumable as resume
from keras_bt.training.checkpoint import CheckpointError

FLAGS = flags.FLAGS

flags.adopt_module_key_flags(device_flags)
flags.adopt_module_key_flags(ledger_flag)
flags.adopt_module_key_flags(recipe_and_source)
flags.DEFINE_string("workdir", None, "Folder of the run; runs/RECIPE without it.")
flags.DEFINE_integer("seed", 0, "Seed of weights, order and views.", 0, 2**32 - 1)
flags.DEFINE_float(
    "minutes", None, "Train for so long instead of for the recipe's epochs.", lower_bound=0.01
)
flags.DEFINE_bool(
    "deterministic", False, "Repeat to the last bit: compiles the step with XLA, slower on CPU."
)
flags.DEFINE_float("checkpoint_minutes", 5.0, "Between checkpoints.", 0.0)
flags.DEFINE_integer("checkpoint_steps", None, "Between checkpoints, if sooner.", 1)
flags.DEFINE_integer("keep_checkpoints", 3, "How many of the newest to keep.", 1)
flags.DEFINE_enum(
    "on_nonfinite",
    "stop",
    resume.ON_NONFINITE,
    "At a step with NaN or an infinity, from which the weights are kept in any case: stop, skip "
    "its batch, or rewind to the last checkpoint and skip its batch.",
)
flags.DEFINE_enum(
    "view_placement",
    "auto",
    ("auto", *placement.PLACEMENTS),
    "Where views are computed: in the step, in the step but compiled by XLA, or by tf.data while "
    "the step before is under way. auto: compiled, where the run is long enough for it to pay.",
)
flags.DEFINE_bool("linear_monitor", False, "Fit linear probes during training too.")
flags.DEFINE_enum(
    "progress",
    "bar",
    ["bar", "json", "none"],
    "Shown while training: a bar and at the end a summary, both on stderr; a line of JSON an epoch "
    "on stdout; or nothing. The last line of stdout is the result in any case.",
)
flags.DEFINE_bool("tensorboard", False, "Write logs for TensorBoard into the folder, too.")
flags.DEFINE_bool("profile", False, "Say in the end, and in the result, where the time went.")
flags.mark_flags_as_mutual_exclusive(["epochs", "minutes"])


def settings_of_flags(recipe):
    """Everything that decides the run, for run.json; the number of devices does not."""
    names = ("image_dir", "bad_images", "max_pixels", "tfrecords")
    names += ("seed", "minutes", "deterministic")
    if FLAGS.view_placement != "auto":
        names += ("view_placement",)
    if FLAGS.validation:
        names += ("validation",)
    return {**recipe.settings(), **{name: FLAGS[name].value for name in names}}


def prepare(strategy, recipe, workdir, open_source):
    """Meets wrong folders and images before anything is computed.

    Returns:
        The run's folder and the run; in its place None if it has ended before.
    """
    settings, chief = settings_of_flags(recipe), workers.is_chief(strategy)
    workers.check_agreement(strategy, settings)

    def open_folder(writes):
        return workers.run_on_all_workers(
            strategy, lambda: run.RunFolder(workdir, settings, writes)
        )

    def build():
        return run.Pretraining(
            recipe,
            source,
            strategy,
            FLAGS.seed,
            FLAGS.minutes,
            FLAGS.deterministic,
            FLAGS.view_placement,
            FLAGS.linear_monitor,
            FLAGS.tensorboard,
        )

    folder = open_folder(writes=False)
    if workers.gather_from_workers(strategy, folder.result())[0]:
        return folder, None
    source = open_source()
    pretraining = workers.run_on_all_workers(strategy, build)
    return open_folder(writes=chief), pretraining


def refuse(error, strategy=None):
    """Ends all workers with a message, and a status that tells keras_bt.distribution.launch not to try again."""
    if strategy is None or workers.is_chief(strategy):
        print(f"pretrain: {error}", file=sys.stderr)
    if strategy is not None:
        with contextlib.suppress(tf.errors.OpError):
            workers.leave_together(strategy, timeout_seconds=30.0)
    sys.exit(2)


def record(result):
    """Keeps the figures of a run that has just ended in the ledger, if there is one."""
    told = ("recipe", "seed", "protocol", "encoder_dir", "profile")
    ledger_flag.record(
        recipe=result["recipe"],
        seed=result["seed"],
        minutes=result["seconds"] / 60,
        protocol=result["protocol"],
        figures={name: value for name, value in result.items() if name not in told},
    )


def main(arguments):
    strategy = None
    try:
        if len(arguments) > 1:
            raise ValueError(f"unexpected arguments {arguments[1:]}; flags are --name=value.")
        strategy = device_flags.strategy_of_flags()
        recipe, workdir, open_source = recipe_and_source.settle(strategy)
        if FLAGS.describe:
            if workers.is_chief(strategy):
                print(recipe.describe())
            workers.leave_together(strategy)
            return
        ledger_flag.check()
        folder, pretraining = prepare(strategy, recipe, workdir, open_source)
    except (ValueError, OSError, ImportError) as error:
        refuse(error, strategy)
    chief = workers.is_chief(strategy)
    told = logging.INFO if chief and FLAGS.progress == "bar" else logging.WARNING
    logging.getLogger("keras_bt").setLevel(told)
    if pretraining is None:
        result = folder.result()
        logging.getLogger("keras_bt").info("%s holds the finished run.", folder.path)
        if chief:
            report.ReportWriter(folder.path).write_if_older()
    else:
        try:
            result = pretraining.run(
                folder,
                every_minutes=FLAGS.checkpoint_minutes,
                every_steps=FLAGS.checkpoint_steps,
                keep=FLAGS.keep_checkpoints,
                on_nonfinite=FLAGS.on_nonfinite,
                profile=FLAGS.profile,
                progress=FLAGS.progress,
            )
        except (FloatingPointError, CheckpointError, OSError) as error:
            refuse(error, strategy)
    if chief:
        if "profile" in result:
            print(profile.report(result["profile"]), file=sys.stderr)
        if FLAGS.progress == "bar":
            print(run.summarize(result), file=sys.stderr)
        print(json.dumps(result), flush=True)
        if pretraining is not None:
            record(result)
    workers.leave_together(strategy)


if __name__ == "__main__":
    absl_logging.set_verbosity(absl_logging.WARNING)
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit(130)
