"""Training that goes on where it was, in a new process."""

import re
import time
from pathlib import Path

import keras
import tensorflow as tf

from keras_bt import workers


class CheckpointError(ValueError):
    """A checkpoint that a training cannot go on from."""


class ResumableTraining(keras.callbacks.Callback):
    """Saves a training at the ends of epochs, and restores it.

    A checkpoint holds weights, the state of views and other random layers, the optimizer, the
    epoch and the seconds trained. It is whole or absent. On several workers the chief writes,
    and all read: the folder has to be one that all of them see.

    Args:
        directory: Folder of the checkpoints.
        every_minutes: Float. Saves at the first end of an epoch after so long, and at the
            end of training.
        keep: Int. How many of the newest to keep.
        writes: Bool. False for all workers but the chief.

    Attributes:
        seconds: Float. Spent in training so far, before a restart included.

    Example:
        >>> import tempfile
        >>> from keras_bt import networks, views
        >>> from keras_bt.model import BarlowTwins
        >>> def train(epochs, folder):
        ...     encoder = networks.resnet18((8, 8, 3), width=1, stem="small")
        ...     pair = views.small_image_views(8, seed=0)
        ...     model = BarlowTwins(encoder, networks.projector(8, (4,)), pair)
        ...     model.compile("sgd")
        ...     resumable = ResumableTraining(folder)
        ...     first = resumable.restore(model)
        ...     arguments = {"epochs": epochs, "initial_epoch": first, "verbose": 0}
        ...     model.fit(tf.zeros([4, 8, 8, 3]), callbacks=resumable, **arguments)
        ...     return first
        >>> folder = tempfile.mkdtemp()
        >>> train(1, folder), train(2, folder), train(2, folder)
        (0, 1, 2)
    """

    def __init__(self, directory, every_minutes=10.0, keep=3, writes=True):
        super().__init__()
        self.directory = Path(directory)
        self.every_minutes = every_minutes
        self.keep = keep
        self.writes = writes
        self.seconds = 0.0

    def restore(self, model):
        """Brings a compiled, built model to the newest checkpoint.

        Args:
            model: `BarlowTwins`.

        Returns:
            Int: the epoch to go on with, `fit`'s `initial_epoch`; 0 without a checkpoint.

        Raises:
            CheckpointError: If the checkpoint is of another model, or not the same on all
                workers.
        """
        if not model.optimizer.built:
            with model.distribute_strategy.scope():
                model.optimizer.build(model.trainable_variables)
        self._epoch = tf.Variable(0, dtype=tf.int64)
        self._seconds = tf.Variable(0.0, dtype=tf.float64)
        checkpoint = tf.train.Checkpoint(
            epoch=self._epoch, seconds=self._seconds, variables=_state(model)
        )
        self._manager = tf.train.CheckpointManager(checkpoint, self.directory, self.keep)
        newest = self._manager.latest_checkpoint
        found = {"newest checkpoint": newest and Path(newest).name}
        try:
            workers.check_agreement(model.distribute_strategy, found)
        except ValueError as error:
            raise CheckpointError(f"All workers have to see one folder. {error}") from error
        if newest is not None:
            try:
                checkpoint.restore(newest).assert_consumed()
            except (AssertionError, ValueError) as error:
                raise CheckpointError(f"{newest} is of another model: {error}") from error
        self.seconds = float(self._seconds)
        return int(self._epoch)

    def on_train_begin(self, logs=None):
        self._began = self._saved = time.monotonic()
        self._seconds_before = self.seconds

    def on_epoch_end(self, epoch, logs=None):
        now = time.monotonic()
        self.seconds = self._seconds_before + now - self._began
        self._epoch.assign(epoch + 1)
        self._seconds.assign(self.seconds)
        if now - self._saved >= 60 * self.every_minutes:
            self._save()
            self._saved = now

    def on_train_end(self, logs=None):
        self._save()

    def _save(self):
        newest = Path(self._manager.latest_checkpoint or "").name
        if self.writes and newest != f"ckpt-{int(self._epoch)}":
            self._manager.save(checkpoint_number=int(self._epoch))


def _state(model):
    """All variables by name, but those of metrics, which start anew with each epoch."""
    of_metrics = {id(variable) for variable in model.metrics_variables}
    of_model = [variable for variable in model.variables if id(variable) not in of_metrics]
    state = {f"{i}/{_without_numbers(v.path)}": v.value for i, v in enumerate(of_model)}
    # Their names hold those of layers, numbers and all.
    of_optimizer = {f"optimizer/{i}": v.value for i, v in enumerate(model.optimizer.variables)}
    return {**state, **of_optimizer}


def _without_numbers(path):
    # Keras numbers layers and optimizers in the order of their making in the process.
    return re.sub(r"_\d+(?=/|$)", "", path)
