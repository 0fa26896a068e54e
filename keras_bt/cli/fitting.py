"""Fits the settings of a run to its machine and its time, and says so."""

import dataclasses
import logging
import time

import tensorflow as tf

from keras_bt._support.durations import in_words
from keras_bt._support.progress_bar import stage
from keras_bt.cli.recipe_flags import Settled
from keras_bt.config import short_runs
from keras_bt.config.recipe import OWN_IMAGES, Recipe
from keras_bt.config.speed import measure_speed, processor_cores
from keras_bt.distribution import workers
from keras_bt.distribution.strategies import on_accelerators
from keras_bt.run.budget import Shares, check_budget, share_out
from keras_bt.run.scoring import sample_to_score

DEFAULT_MINUTES = 60.0  # on CPUs, without minutes and epochs
QUICK_PIXELS = 1e6  # of all images of a training that is over before its speed is measured

log = logging.getLogger("keras_bt")


@dataclasses.dataclass(frozen=True)
class Fitted:
    """Settings that fit.

    Args:
        recipe: Its precision is not "auto".
        minutes: The budget, or None.
        words: Sentences on speed and time, for the user.
    """

    recipe: Recipe
    minutes: float | None = None
    words: tuple[str, ...] = ()


def fit_to_machine(
    settled: Settled, minutes: float | None, strategy: tf.distribute.Strategy, started: float
) -> Fitted:
    """Fits the settings of a run to its machine and its time.

    A run that has begun keeps its settings. Accelerators get the published ones, unless a budget
    is too short for them. On CPUs, a run without minutes or epochs that would take more than an
    hour gets a budget of an hour.

    Args:
        settled: See `Settled`.
        minutes: Budget that the user has given, or None.
        strategy: The strategy to train under.
        started: `time.monotonic()` at which the budget begins.

    Raises:
        ValueError: If the budget is too short.
    """
    recipe, begun_with = settled.recipe, settled.begun_with
    if begun_with is not None:
        minutes = begun_with.get("minutes") if minutes is None else minutes
        return Fitted(_resolved(recipe, strategy), minutes)
    return _fit(settled, minutes, strategy, started)


def _fit(
    settled: Settled, minutes: float | None, strategy: tf.distribute.Strategy, started: float
) -> Fitted:
    """`fit_to_machine` of a run that begins."""
    recipe, given = settled.recipe, settled.given
    by_rules, epochs_given = recipe.name == OWN_IMAGES, "epochs" in given
    if minutes is None and on_accelerators(strategy):
        return Fitted(_resolved(recipe, strategy))
    count = settled.open_images().train.count
    hint = ""
    if minutes is None and (epochs_given or not by_rules):
        if by_rules:
            recipe = recipe.fitted(count, **given)
        recipe = _resolved(recipe, strategy)
        if recipe.epochs * count * recipe.side_of_views**2 < QUICK_PIXELS:
            return Fitted(recipe)
        speed = _measure(recipe, strategy)
        seconds = recipe.epochs * count / speed
        if epochs_given or seconds <= 60 * DEFAULT_MINUTES:
            sentence = f"{recipe.epochs:,} epochs take about {in_words(seconds)}, without scoring."
            return Fitted(recipe, None, (f"{_speed_in_words(recipe, speed)}: {sentence}",))
        hint = f"{recipe.epochs:,} epochs of recipe {recipe.name} would take {in_words(seconds)}. "
    if minutes is None:
        minutes = DEFAULT_MINUTES
        hint += "The run takes an hour; --minutes=8 or --epochs=100, for example, changes that."
    return _fit_minutes(settled, minutes, strategy, started, hint)


def _fit_minutes(
    settled: Settled,
    minutes: float,
    strategy: tf.distribute.Strategy,
    started: float,
    hint: str,
) -> Fitted:
    """A recipe for a budget."""
    recipe, given, source = settled.recipe, settled.given, settled.open_images()
    count, scored = source.train.count, sample_to_score(source, minutes)
    smallest = _resolved(recipe.fitted(count, minutes, 0.0, **given), strategy)
    reference_speed = _measure(smallest, strategy)

    def shares() -> Shares:
        gone = workers.gather_from_workers(strategy, time.monotonic() - started)[0]
        return share_out(minutes, gone, scored)

    training_minutes = max(0.0, shares().training) / 60
    recipe = recipe.fitted(count, training_minutes, reference_speed, **given)
    recipe = _resolved(recipe, strategy)
    speed = _measure(recipe, strategy)
    expected = shares()
    check_budget(minutes, expected, count, speed)
    epochs = max(1, round(speed * expected.training / count))
    could = ""
    for network in short_runs.NETWORKS:
        if recipe.encoder == "conv4" and network.width == 2 * recipe.width:
            fewer = expected.training * reference_speed / network.cost / count
            could = f"; width {network.width} would get {fewer:,.0f}"
    words = (
        *([hint] if hint else []),
        f"{_speed_in_words(recipe, speed)}: about {epochs:,} epochs{could}.",
        expected.in_words,
    )
    reason = f"about as many as fit into {minutes:g} minutes, at {speed:,.0f} images a second"
    return Fitted(recipe.with_sourced({"epochs": (epochs, reason)}), minutes, words)


def _measure(recipe: Recipe, strategy: tf.distribute.Strategy) -> float:
    """Images a second, with a line on the terminal while they are measured."""
    with stage("measuring the speed of this machine", log.isEnabledFor(logging.INFO)):
        return measure_speed(recipe, strategy)


def _resolved(recipe: Recipe, strategy: tf.distribute.Strategy) -> Recipe:
    """The recipe with a precision in place of "auto"."""
    workers.check_agreement(strategy, {"precision": recipe.precision})
    with strategy.scope():
        return recipe.resolve_precision()


def _speed_in_words(recipe: Recipe, speed: float) -> str:
    """The machine and what it does in a second."""
    gpus = tf.config.list_logical_devices("GPU")
    count, device = (len(gpus), "GPU") if gpus else (processor_cores(), "core")
    return (
        f"{count} {device}{'s' * (count > 1)}, {speed:,.0f} images a second through "
        f"{recipe.encoder} of width {recipe.width} in {recipe.precision}"
    )
