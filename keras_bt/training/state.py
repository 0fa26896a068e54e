"""The state of a training: all values that a resumed training needs."""

import json
import re
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bt.model.barlow_twins import BarlowTwins
from keras_bt.model.optimizers import current_rate

COUNTS = ("step", "steps_per_epoch", "ended_epochs", "nonfinite_steps")


class TrainingState:
    """The variables of a model and its optimizer, the sums of the metrics, and the progress.

    Args:
        model: Compiled, with a built optimizer.

    Attributes:
        step: Number of batches trained on.
        steps_per_epoch: Steps in an epoch; 0 before the training begins.
        ended_epochs: Number of epochs whose logs the callbacks have received.
        nonfinite_steps: Number of batches that were skipped because of NaN or infinity.
        seconds: Duration of the training, up to the last `copy_to_variables`.
        history: The logs of each ended epoch, with "epoch" (from 1), and "step", "seconds" and
            "learning_rate" at its end.
        variables: The variables of a checkpoint, by name.
    """

    def __init__(self, model: BarlowTwins) -> None:
        self.step = self.steps_per_epoch = self.ended_epochs = self.nonfinite_steps = 0
        self.seconds = 0.0
        self.history: list[dict[str, Any]] = []
        self._model = model
        self._begin_time = time.monotonic()
        self._counts = {name: tf.Variable(0, dtype=tf.int64) for name in COUNTS}
        self._seconds = tf.Variable(0.0, dtype=tf.float64)
        # Each replica has its own copy of the sums. All copies agree, so one is saved.
        self._metric_sums = [
            tf.Variable(tf.zeros(v.shape, v.dtype)) for v in model.metrics_variables
        ]
        self._history = tf.Variable("[]")
        self._progress = [
            *self._counts.values(),
            self._seconds,
            self._history,
            *self._metric_sums,
        ]
        self.variables = {
            **_model_variables(model),
            **{f"training/{name}": variable for name, variable in self._counts.items()},
            "training/seconds": self._seconds,
            "training/history": self._history,
            **{f"logs/{index}": variable for index, variable in enumerate(self._metric_sums)},
        }

    def begin(self, steps_per_epoch: int) -> None:
        """Starts the clock, at the seconds that the training already took."""
        self.steps_per_epoch = steps_per_epoch
        self._begin_time = time.monotonic() - self.seconds

    def elapsed(self) -> float:
        """Seconds that the training has taken so far."""
        return time.monotonic() - self._begin_time

    def add_epoch(self, epoch: int, logs: dict[str, Any]) -> None:
        """Adds the logs of an epoch, counted from 0, to the history."""
        line = {
            "epoch": epoch + 1,
            "step": self.step,
            "seconds": round(self.elapsed(), 3),
            "learning_rate": current_rate(self._model.optimizer),
        }
        self.history.append({**line, **{name: float(logs[name]) for name in logs}})
        self.ended_epochs = self.step // self.steps_per_epoch

    def copy_to_variables(self) -> None:
        """Copies the attributes and the sums of the metrics to the variables."""
        self.seconds = self.elapsed()
        for name, variable in self._counts.items():
            variable.assign(getattr(self, name))
        self._seconds.assign(self.seconds)
        self._history.assign(json.dumps(self.history))
        for saved, variable in zip(self._metric_sums, self._model.metrics_variables, strict=True):
            saved.assign(self._copies(variable)[0])

    def copy_from_variables(self) -> None:
        """Copies the attributes from the variables."""
        for name, variable in self._counts.items():
            setattr(self, name, int(variable))
        self.seconds = float(self._seconds)
        self._begin_time = time.monotonic() - self.seconds
        self.history[:] = json.loads(self._history.numpy())  # callbacks hold the same list

    def restore_metrics(self) -> None:
        """Restores the sums of the model's metrics from the variables; `fit` resets them."""
        for saved, variable in zip(self._metric_sums, self._model.metrics_variables, strict=True):
            for copy in self._copies(variable):
                copy.assign(saved)

    def progress(self) -> list[np.ndarray]:
        """The values of all variables except those of the model and the optimizer."""
        return [variable.numpy() for variable in self._progress]

    def set_progress(self, progress: list[np.ndarray]) -> None:
        """Restores what `progress` returned."""
        for variable, value in zip(self._progress, progress, strict=True):
            variable.assign(value)
        self.copy_from_variables()

    def _copies(self, variable: keras.Variable) -> tuple[tf.Variable, ...]:
        """The copies of a variable on this process's replicas."""
        return self._model.distribute_strategy.experimental_local_results(variable.value)


def _model_variables(model: BarlowTwins) -> dict[str, tf.Variable]:
    """The variables of a model and its optimizer, by name."""
    model_variables = {
        f"{i}/{_without_numbers(v.path)}": v.value for i, v in enumerate(model.variables)
    }
    # Paths of the optimizer's variables contain numbered layer names, so only indices are used.
    optimizer_variables = {
        f"optimizer/{i}": v.value for i, v in enumerate(model.optimizer.variables)
    }
    return {**model_variables, **optimizer_variables}


def _without_numbers(path: str) -> str:
    """Removes the numbers that Keras gives layers in the order of creation in the process."""
    return re.sub(r"_\d+(?=/|$)", "", path)
