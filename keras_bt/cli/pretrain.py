"""Pretrains an encoder on images without labels.

    keras-bt pretrain --recipe=digits
    keras-bt pretrain --image_dir=photos --image_size=64 --minutes=60 --workdir=runs/photos
    keras-bt launch --workers=2 -- pretrain --recipe=digits

The first needs no internet and takes two to seven minutes on two CPU cores. The folder of the run
gets the encoder (a SavedModel), report.html and result.json; the last line of stdout is the result
as JSON. Started again on the same folder, the run resumes from its last checkpoint.
"""

import contextlib
import json
import logging
import sys
from typing import Any

import tensorflow as tf
from absl.flags import FlagValues

from keras_bt.cli.command import REFUSALS, REFUSED, Command, FlagGroup, Invocation
from keras_bt.cli.device_flags import define_device_flags, strategy_of_flags
from keras_bt.cli.fitting import Fitted, fit_to_machine
from keras_bt.cli.image_flags import IMAGES
from keras_bt.cli.ledger_flag import add_to_ledger, check_ledger, define_ledger_flag
from keras_bt.cli.preparing import define_prepare_flag, open_images
from keras_bt.cli.recipe_flags import (
    Settled,
    define_recipe_flags,
    named_recipe,
    recipe_of_flags,
    settle,
    workdir_of,
)
from keras_bt.distribution import workers
from keras_bt.model.view_placement import PLACEMENTS
from keras_bt.report import ReportWriter
from keras_bt.run import Pretraining, RunFolder, summarize
from keras_bt.run.identity import PLACES, resolved
from keras_bt.run.progress import DISPLAYS
from keras_bt.training import profiling
from keras_bt.training.checkpoint import CheckpointError
from keras_bt.training.nonfinite_steps import ACTIONS

log = logging.getLogger("keras_bt")


def _define_flags(values: FlagValues) -> None:
    define_recipe_flags(values)
    define_prepare_flag(values)
    output = FlagGroup(values, "Output")
    output.string("workdir", None, "Folder of the run; runs/RECIPE by default.")
    output.enum(
        "progress",
        "bar",
        tuple(DISPLAYS),
        "bar: a bar, and a summary at the end, on stderr. json: a line of JSON per epoch on "
        "stdout. none: warnings only. The last line of stdout is always the result.",
    )
    define_ledger_flag(values)
    output.bool("tensorboard", "Write logs for TensorBoard to the folder of the run.")
    output.bool("profile", "Print and store the time of each part of a step and of the run.")
    training = FlagGroup(values, "Training")
    training.float(
        "minutes",
        None,
        "Time from the command to its result, instead of a number of epochs. The settings that "
        "are not given fit the machine and this time. On a CPU an hour, unless --epochs is given "
        "or the recipe takes less.",
        0.01,
    )
    training.integer("seed", 0, "Seed of weights, order and views.", 0, 2**32 - 1)
    training.bool("linear_monitor", "Also fit linear probes during training.")
    training.bool(
        "deterministic",
        "Make runs equal to the last bit. Compiles the step with XLA; slower on a CPU.",
    )
    training.enum(
        "view_placement",
        "auto",
        ("auto", *PLACEMENTS),
        "Where views are computed. step: in the training step. compiled: in the step, compiled by "
        "XLA. data: by tf.data during the step before. auto: compiled if the run is long enough.",
    )
    checkpoints = FlagGroup(values, "Checkpoints")
    checkpoints.float("checkpoint_minutes", 5.0, "Minutes between checkpoints.", 0.0)
    checkpoints.integer(
        "checkpoint_steps", None, "Steps between checkpoints, if that is sooner.", 1
    )
    checkpoints.integer("keep_checkpoints", 3, "Number of newest checkpoints to keep.", 1)
    checkpoints.enum(
        "on_nonfinite",
        "stop",
        ACTIONS,
        "After a step with NaN or infinity, which never changes the weights: stop, skip its batch, "
        "or rewind to the last checkpoint and skip its batch.",
    )
    define_device_flags(values)


def run(invocation: Invocation) -> int | None:
    """Checks all settings, then pretrains and prints the result."""
    flags, strategy = invocation.flags, None
    try:
        strategy = strategy_of_flags(flags)
        chief = workers.is_chief(strategy)
        level = logging.INFO if chief and flags.progress == "bar" else logging.WARNING
        log.setLevel(level)
        log.info("%s", _first_line(flags))
        settled = settle(flags, strategy)
        fitted = fit_to_machine(settled, flags.minutes, strategy, invocation.started)
        if flags.describe:
            if chief:
                print("\n".join([*fitted.words, fitted.recipe.describe()]))
            workers.leave_together(strategy)
            return None
        for sentence in fitted.words:
            log.info("%s", sentence)
        check_ledger(flags)
        folder, pretraining = _prepare(invocation, strategy, settled, fitted)
    except REFUSALS as error:
        return _refuse(error, strategy)
    if pretraining is None:
        result = folder.result()
        log.info("The run in %s is finished already.", folder.path)
        if chief:
            ReportWriter(folder.path).write_if_older()
    else:
        try:
            result = pretraining.run(
                folder,
                every_minutes=flags.checkpoint_minutes,
                every_steps=flags.checkpoint_steps,
                keep=flags.keep_checkpoints,
                on_nonfinite=flags.on_nonfinite,
                profile=flags.profile,
                progress=flags.progress,
            )
        except (FloatingPointError, CheckpointError, OSError) as error:
            return _refuse(error, strategy)
        finally:
            folder.close()
    if chief:
        assert result is not None, "only the other workers have no result"
        _show(flags, result)
        if pretraining is not None:
            _record(invocation, result)
    workers.leave_together(strategy)
    return None


def _first_line(flags: FlagValues) -> str:
    """What is done, how long it takes if that is known, and where the result will be."""
    recipe = recipe_of_flags(flags, named_recipe(flags), 1000)  # refuses wrong flags
    images = flags.image_dir or flags.tfrecords or flags.tars or recipe.dataset
    duration = f", with a result in {flags.minutes:g} minutes" if flags.minutes else ""
    return f"Pretraining on {images}{duration}; folder of the run: {workdir_of(flags)}."


def _settings(flags: FlagValues, fitted: Fitted) -> dict[str, Any]:
    """All settings that determine the run, for run.json; devices are not among them."""
    names = [*PLACES, "bad_images", "max_pixels", "seed", "deterministic"]
    if flags.view_placement != "auto":
        names.append("view_placement")
    if flags.validation:
        names.append("validation")
    if flags.check != "header":
        names.append("check")
    named = {name: flags[name].value for name in names}
    return {**fitted.recipe.settings(), **named, "minutes": fitted.minutes}


def _prepare(
    invocation: Invocation,
    strategy: tf.distribute.Strategy,
    settled: Settled,
    fitted: Fitted,
) -> tuple[RunFolder, Pretraining | None]:
    """The folder of the run, and the run; None instead of a finished run."""
    flags = invocation.flags
    settings, chief = _settings(flags, fitted), workers.is_chief(strategy)
    workers.check_agreement(strategy, settings)
    # After that check: workers may have the images at different places.
    settings |= {name: resolved(settings[name]) for name in PLACES}

    def open_folder(writes: bool, images: str | None = None) -> RunFolder:
        def open_it() -> RunFolder:
            return RunFolder(settled.workdir, settings, writes, invocation.command_line, images)

        return workers.run_on_all_workers(strategy, open_it)

    folder = open_folder(writes=False)
    state = [folder.result() is not None, folder.moved]
    finished, moved = workers.gather_from_workers(strategy, state)[0]
    if finished and not moved:
        return folder, None
    images = settled.open_images().digest or None
    if finished:
        return open_folder(writes=False, images=images), None
    source = open_images(flags, settled, fitted, strategy)
    pretraining = workers.run_on_all_workers(
        strategy,
        lambda: Pretraining(
            fitted.recipe,
            source,
            strategy,
            seed=flags.seed,
            minutes=fitted.minutes,
            started=invocation.started,
            deterministic=flags.deterministic,
            view_placement=flags.view_placement,
            linear_monitor=flags.linear_monitor,
            tensorboard=flags.tensorboard,
        ),
    )
    return open_folder(writes=chief, images=images), pretraining


def _refuse(error: BaseException, strategy: tf.distribute.Strategy | None) -> int:
    """Prints the error on the chief, and ends all workers with exit status 2."""
    if strategy is None or workers.is_chief(strategy):
        COMMAND.print_error(error)
    if strategy is not None:
        with contextlib.suppress(tf.errors.OpError):
            workers.leave_together(strategy, timeout_seconds=30.0)
    return REFUSED


def _show(flags: FlagValues, result: dict[str, Any]) -> None:
    """Prints the profile and the summary for people, then the result for programs."""
    if "profile" in result:
        print(profiling.format_profile(result["profile"]), file=sys.stderr)
    if flags.progress == "bar":
        print(summarize(result), file=sys.stderr)
    print(json.dumps(result), flush=True)


def _record(invocation: Invocation, result: dict[str, Any]) -> None:
    """Adds the result of a run that has just ended to the ledger."""
    columns = ("recipe", "seed", "protocol", "encoder_dir", "profile")
    add_to_ledger(
        invocation,
        recipe=result["recipe"],
        seed=result["seed"],
        minutes=result["seconds"] / 60,
        protocol=result["protocol"],
        figures={name: value for name, value in result.items() if name not in columns},
    )


COMMAND = Command(
    name="pretrain",
    doc=__doc__,
    define_flags=_define_flags,
    run=run,
    first=("image_dir", "dataset", "recipe", "image_size", "minutes", "epochs", "batch_size")
    + ("workdir", "seed", "devices"),
    exclusive=(IMAGES, ("epochs", "minutes")),
)
main = COMMAND.main
