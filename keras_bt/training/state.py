"""Everything that a training goes on from."""

import json
import re

import tensorflow as tf

COUNTS = ("step", "steps_per_epoch", "ended_epochs", "nonfinite_steps")


class TrainingState:
    """The variables of a model, its optimizer and its logs, and how far its training is.

    Args:
        model: Compiled `BarlowTwins` with a built optimizer.

    Attributes:
        step: Int. Batches that were trained on.
        steps_per_epoch: Int. Of the training, 0 before it has begun.
        ended_epochs: Int. Epochs whose logs are complete and told to the callbacks.
        nonfinite_steps: Int. Batches among them that were passed over.
        seconds: Float. Spent in training.
        history: List of dicts, the logs of each ended epoch, with its number, counted from 1,
            the step, the seconds and the learning rate at its end.
        variables: Dict from names to `tf.Variable`s: what a checkpoint holds.
    """

    def __init__(self, model):
        self.step = self.steps_per_epoch = self.ended_epochs = self.nonfinite_steps = 0
        self.seconds = 0.0
        self.history: list[dict] = []
        self._model = model
        self._counts = {name: tf.Variable(0, dtype=tf.int64) for name in COUNTS}
        self._seconds = tf.Variable(0.0, dtype=tf.float64)
        # Replicas each have their own sums of the logs, all alike; they are saved once.
        self._log_sums = [tf.Variable(tf.zeros(v.shape, v.dtype)) for v in model.metrics_variables]
        self._history = tf.Variable("[]")
        self._progress = [*self._counts.values(), self._seconds, self._history, *self._log_sums]
        self.variables = {
            **_of_model(model),
            **{f"training/{name}": variable for name, variable in self._counts.items()},
            "training/seconds": self._seconds,
            "training/history": self._history,
            **{f"logs/{index}": variable for index, variable in enumerate(self._log_sums)},
        }

    def note(self):
        """Copies progress, history and the sums of the logs into the variables."""
        for name, variable in self._counts.items():
            variable.assign(getattr(self, name))
        self._seconds.assign(self.seconds)
        self._history.assign(json.dumps(self.history))
        for noted, variable in zip(self._log_sums, self._model.metrics_variables, strict=True):
            noted.assign(self._copies(variable)[0])

    def recall(self):
        """Takes progress and history from the variables."""
        for name, variable in self._counts.items():
            setattr(self, name, int(variable))
        self.seconds = float(self._seconds)
        self.history[:] = json.loads(self._history.numpy())

    def progress(self):
        """What is neither of the model nor of the optimizer, as values."""
        return [variable.numpy() for variable in self._progress]

    def go_on_from(self, progress):
        """Puts back what `progress` returned."""
        for variable, value in zip(self._progress, progress, strict=True):
            variable.assign(value)
        self.recall()

    def recall_logs(self):
        """Gives the model's metrics, which `fit` has reset, the sums that were noted."""
        for noted, variable in zip(self._log_sums, self._model.metrics_variables, strict=True):
            for copy in self._copies(variable):
                copy.assign(noted)

    def _copies(self, variable):
        return self._model.distribute_strategy.experimental_local_results(variable.value)


def _of_model(model):
    """All variables by name; Keras counts those of metrics apart."""
    named = {f"{i}/{_without_numbers(v.path)}": v.value for i, v in enumerate(model.variables)}
    # Their names hold those of layers, numbers and all.
    of_optimizer = {f"optimizer/{i}": v.value for i, v in enumerate(model.optimizer.variables)}
    return {**named, **of_optimizer}


def _without_numbers(path):
    # Keras numbers layers and optimizers in the order of their making in the process.
    return re.sub(r"_\d+(?=/|$)", "", path)
