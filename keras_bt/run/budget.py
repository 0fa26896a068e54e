"""`Budget`: a training that ends when its time is up."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras

from keras_bt.data import Source
from keras_bt.distribution import workers
from keras_bt.model.optimizers import warmup_cosine_share
from keras_bt.run.plan import Plan
from keras_bt.training.state import TrainingState

MOST_ROUNDS = 1_000_000
RECENT_ROUNDS = 3  # whose speed is expected of the others
WARM_UP_STEPS = 3  # the first compiles

# Measured on two cores. The pixels' linear probe takes most of the time of the baselines.
BASELINE_SECONDS = {"train": 0.009, "test": 0.003, "rest": 4.0}
FINAL_SECONDS = 12.0  # of the export and the report
FIRST_STEP_SECONDS = 10.0
LEAST_TRAINED = 10_000  # images that a run takes at least, if it has as many


def baseline_seconds(scored: Source) -> float:
    """Seconds that the baselines are expected to take.

    Args:
        scored: The images that are scored.

    Example:
        >>> from keras_bt.data import digits
        >>> round(baseline_seconds(digits()))
        18
    """
    labelled, test = scored.for_evaluation()
    if test is None:
        return 0.0
    of_images = BASELINE_SECONDS["train"] * labelled.count + BASELINE_SECONDS["test"] * test.count
    return BASELINE_SECONDS["rest"] + of_images


def final_seconds(scored: Source) -> float:
    """Seconds that the last scores, the export and the report are expected to take.

    Args:
        scored: The images that are scored.

    Example:
        >>> from keras_bt.data import digits
        >>> round(final_seconds(digits()))
        18
    """
    return FINAL_SECONDS + baseline_seconds(scored) / 3  # without those of pixels


@dataclasses.dataclass(frozen=True)
class Shares:
    """What the seconds of a budget are expected to be spent on.

    Example:
        >>> print(Shares(gone=12.0, baselines=33.0, training=400.0, final=35.0).in_words)
        Start 0:12, baselines 0:33, training 6:40, scores and report 0:35.
    """

    gone: float
    baselines: float
    training: float
    final: float

    @property
    def in_words(self) -> str:
        """The times in minutes and seconds."""
        names = {"gone": "Start", "baselines": "baselines", "training": "training"}
        times = {**names, "final": "scores and report"}
        return (
            ", ".join(f"{text} {_clock(getattr(self, name))}" for name, text in times.items()) + "."
        )


def share_out(minutes: float, gone: float, scored: Source) -> Shares:
    """Divides a budget.

    Args:
        minutes: The budget.
        gone: Seconds that are over.
        scored: The images that are scored.

    Returns:
        The shares; that of the training may be below 0.
    """
    baselines, final = baseline_seconds(scored), final_seconds(scored)
    return Shares(gone, baselines, 60 * minutes - gone - baselines - final, final)


def check_budget(minutes: float, shares: Shares, images: int, speed: float) -> None:
    """Rejects a budget in which not one pass over the images fits, or 10,000 of many.

    Args:
        minutes: The budget.
        shares: What it is spent on.
        images: Number of training images.
        speed: Images a second.

    Raises:
        ValueError: Names the least that makes sense.

    Example:
        >>> check_budget(0.5, Shares(9.0, 12.0, -7.0, 16.0), images=1437, speed=1000.0)
        Traceback (most recent call last):
            ...
        ValueError: --minutes=0.5 is too short: start, scores and report take about 47 seconds, ...
    """
    rest = shares.gone + shares.baselines + shares.final + FIRST_STEP_SECONDS
    pass_seconds = min(images, LEAST_TRAINED) / speed
    least = math.ceil(10 * (rest + pass_seconds) / 60) / 10
    if minutes < least:
        raise ValueError(
            f"--minutes={minutes:g} is too short: start, scores and report take about {rest:.0f} "
            f"seconds, {min(images, LEAST_TRAINED):,} images {pass_seconds:.0f}; give at least "
            f"{least:g}."
        )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


class Budget(keras.callbacks.Callback):
    """Ends a training when its time is up, and lowers the learning rate towards that moment.

    After each epoch of `fit` the plan gets as many epochs as the rest of the time allows, at the
    speed of the last ones. So the training keeps its time on a machine whose speed changes. The
    learning rate follows the progress of the plan, see `warmup_cosine_share`.

    It must come before callbacks that use `params["epochs"]`, which it keeps up to date.

    Args:
        plan: The plan of the run, with `seconds`.
        state: The state of the training.
        peak_rate: Highest learning rate.
        warmup_share: Share of the training in which the rate rises.
        save: Called when the plan has changed.
    """

    def __init__(
        self,
        plan: Plan,
        state: TrainingState,
        peak_rate: float,
        warmup_share: float,
        save: Callable[[], Any],
    ) -> None:
        super().__init__()
        assert plan.seconds is not None
        self.plan, self.state = plan, state
        self.seconds = plan.seconds
        self.peak_rate, self.warmup_share = peak_rate, warmup_share
        self._save = save
        self._times: list[tuple[int, float]] = []  # (step, seconds)
        self._first_step = state.step

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.params["epochs"] = self.plan.epochs  # all callbacks share this dict

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        share = warmup_cosine_share(self.plan.progress(self.state.step), self.warmup_share)
        self.model.optimizer.learning_rate = self.peak_rate * share

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not self._times and self.state.step + 1 >= self._first_step + WARM_UP_STEPS:
            self._times.append((self.state.step + 1, self.state.elapsed()))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        step, seconds = self.state.step, self.state.elapsed()
        before, then = self._times[0] if self._times else (0, 0.0)
        self._times = [*self._times[-RECENT_ROUNDS:], (step, seconds)]
        epochs = self.plan.epochs
        if step > before and seconds > then:
            steps_per_second = (step - before) / (seconds - then)
            left = (self.seconds - seconds) * steps_per_second / self.plan.steps_per_epoch
            epochs = epoch + 1 + max(0, round(left))
        epochs = workers.gather_from_workers(self.model.distribute_strategy, epochs)[0]
        if epochs != self.plan.epochs:
            self.plan.change(step, epochs)
            self.params["epochs"] = epochs
            self._save()
        if epoch + 1 >= epochs:
            self.model.stop_training = True
