"""The flag --prepare: a run reduces the images of its folder once, if it reads them often."""

import functools
import logging
from pathlib import Path

import tensorflow as tf
from absl.flags import FlagValues

from keras_bt._support import atomic
from keras_bt.cli.command import FlagGroup
from keras_bt.cli.fitting import Fitted
from keras_bt.cli.recipe_flags import Settled
from keras_bt.data import Prepared, Source
from keras_bt.data.manifest import is_prepared
from keras_bt.data.memory import fits_into_memory
from keras_bt.data.preparation import Preparation
from keras_bt.distribution import workers

LARGE = 4  # times the pixels needed
MOST_SHARE = 0.25  # of a budget of time

log = logging.getLogger("keras_bt")


def define_prepare_flag(values: FlagValues) -> None:
    """Adds the flag --prepare."""
    FlagGroup(values, "Images").enum(
        "prepare",
        "auto",
        ("auto", "always", "never"),
        "Whether the images of --image_dir are first reduced, once, into a folder `prepared` in "
        "the folder of the run, as `keras-bt prepare` does. auto: if they are read more than once, "
        "have more than four times the pixels needed, do not fit into memory, and the disk has "
        "twice the room; not with --deterministic.",
    )


def open_images(
    flags: FlagValues, settled: Settled, fitted: Fitted, strategy: tf.distribute.Strategy
) -> Source:
    """The images of a run, prepared if the flag says so or if it pays.

    Args:
        flags: Flags of `define_image_flags` and `define_prepare_flag`.
        settled: See `Settled`.
        fitted: The settings of the run.
        strategy: The strategy to train under.

    Raises:
        ValueError: If the images cannot be prepared although they must be.
    """
    source = settled.open_images()
    if flags.prepare == "always" and not flags.image_dir:
        raise ValueError("--prepare=always needs --image_dir.")
    if flags.prepare == "never" or not flags.image_dir or is_prepared(_absolute(flags.image_dir)):
        return source
    out, load_size = Path(settled.workdir).expanduser() / "prepared", fitted.recipe.load_size

    @functools.cache
    def preparation() -> Preparation:
        return Preparation(flags.image_dir, out, load_size, flags.max_pixels)

    def decide() -> bool:
        if flags.prepare == "always":
            return True
        return _may_pay(flags, fitted, source) and _pays(preparation(), fitted)

    decided = workers.run_on_all_workers(strategy, decide)
    if not workers.gather_from_workers(strategy, decided)[0]:
        return source

    def prepare() -> Source:
        # Headers have been checked, and what is damaged behind them is replaced in any run.
        preparation().run(bad_images="skip", wait=True)
        prepared = Prepared(out, flags.check).source()
        return prepared.for_validation() if flags.validation else prepared

    return workers.run_on_chief_first(strategy, prepare)


def _may_pay(flags: FlagValues, fitted: Fitted, source: Source) -> bool:
    """Whether preparing may pay, as far as is known without the files."""
    if flags.deterministic:  # what pays depends on the machine
        return False
    recipe = fitted.recipe
    return recipe.epochs >= 2 and not fits_into_memory(source.train.count, recipe.load_size)


def _pays(preparation: Preparation, fitted: Fitted) -> bool:
    """Whether preparing pays, by a sample of the files."""
    if preparation.begun:
        return True
    estimate = preparation.estimate
    if estimate.pixels <= LARGE * fitted.recipe.load_size**2:
        return False
    if fitted.minutes is not None and estimate.seconds > MOST_SHARE * 60 * fitted.minutes:
        return False
    if 2 * estimate.size_bytes > (free := atomic.free_bytes(preparation.out)):
        log.warning(
            "The images are read from their files in each epoch: %s has %s free, and preparing "
            "them needs %s and as much again.",
            preparation.out.parent,
            atomic.megabytes(free),
            atomic.megabytes(estimate.size_bytes),
        )
        return False
    return True


def _absolute(folder: str) -> Path:
    """A folder that a flag names."""
    return Path(folder).expanduser().absolute()
