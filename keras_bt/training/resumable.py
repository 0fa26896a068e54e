"""`ResumableTraining`: training with checkpoints that survive interruption."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_bt.distribution import workers
from keras_bt.model.barlow_twins import BarlowTwins
from keras_bt.training.checkpoint import CheckpointError, Checkpoints
from keras_bt.training.loop import TrainingLoop
from keras_bt.training.nonfinite_steps import ACTIONS, NonfiniteSteps
from keras_bt.training.schedule import CheckpointSchedule
from keras_bt.training.state import TrainingState


@dataclasses.dataclass(eq=False)
class ResumableTraining:
    """Trains a model with checkpoints that survive interruption.

    A checkpoint holds weights, state of views and other random layers, optimizer, position in
    the data, logs and duration. It is written at intervals, at SIGTERM and SIGINT, and at the
    end. A training that is killed and started again ends with the weights of an uninterrupted
    one. They are equal to the last bit if two uninterrupted trainings are.

    On several workers the chief writes and all workers read. The folder must be visible to all,
    and no other training may use it.

    Args:
        directory: Folder of the checkpoints; see `checkpoint.Checkpoints`.
        every_minutes: Time between checkpoints, at least 0.
        every_steps: Steps between checkpoints, if that is sooner; None for no such limit.
        keep: Number of checkpoints to keep, at least 1.
        settings: JSON-serializable settings, saved in checkpoints. `restore` refuses a checkpoint
            with others.
        on_nonfinite: Action after a step with NaN or infinity in its loss or gradient. Such a
            step does not change the weights, and a message names the layer. "stop" ends the
            training; "skip" continues with the next batch; "rewind" continues with the next
            batch and the weights of the last checkpoint.
        most_nonfinite: Largest number of skipped or rewound steps; one more ends the training.
        writes: Whether this process writes; False for workers other than the chief.

    Attributes:
        state: `TrainingState`: the progress, and the logs of each epoch.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import tempfile
        >>> import keras_bt
        >>> import tensorflow as tf
        >>> images = tf.data.Dataset.from_tensors(tf.zeros([4, 8, 8, 3])).repeat()
        >>> def train(epochs, folder):
        ...     encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        ...     views = keras_bt.small_image_views(8, seed=0)
        ...     model = keras_bt.BarlowTwins(encoder, keras_bt.projector(192, (4,)), views)
        ...     model.compile("sgd", hold_nonfinite=True)
        ...     training = ResumableTraining(folder)
        ...     first_step = training.restore(model).step
        ...     history = training.fit(images.skip, epochs, steps_per_epoch=2)
        ...     return first_step, training.state.step, history.epoch
        >>> folder = tempfile.mkdtemp()
        >>> train(1, folder), train(2, folder)
        ((0, 2, [0]), (2, 4, [0, 1]))
    """

    directory: Path | str
    every_minutes: float = 10.0
    every_steps: int | None = None
    keep: int = 3
    settings: Mapping[str, Any] | None = None
    on_nonfinite: str = "stop"
    most_nonfinite: int = 10
    writes: bool = True

    def __post_init__(self) -> None:
        if self.on_nonfinite not in ACTIONS:
            raise ValueError(f"on_nonfinite must be one of {ACTIONS}, got {self.on_nonfinite!r}.")
        if not self.every_minutes >= 0:  # also rejects NaN
            raise ValueError(f"every_minutes must be at least 0, got {self.every_minutes}.")
        if self.every_steps is not None and self.every_steps < 1:
            raise ValueError(f"every_steps must be at least 1, got {self.every_steps}.")

    def restore(self, model: BarlowTwins) -> TrainingState:
        """Restores a model from the newest undamaged checkpoint.

        Args:
            model: Compiled with `hold_nonfinite=True`.

        Returns:
            The state of the training; its `step` is 0 if there is no checkpoint.

        Raises:
            CheckpointError: If the checkpoint has another model or other settings, all
                checkpoints are damaged, or workers read different ones.
            ValueError: If the settings of the model are not supported.
        """
        _check_model(model, self.on_nonfinite)
        strategy = model.distribute_strategy
        if not model.optimizer.built:
            with strategy.scope():
                model.optimizer.build(model.trainable_variables)
        self._model, self._optimizer = model, model.optimizer
        self.state = TrainingState(model)
        self._checkpoints = Checkpoints(
            self.directory, self.state.variables, self.settings, self.keep, self.writes
        )
        try:
            workers.run_on_chief_first(strategy, self._checkpoints.restore)
            self.state.copy_from_variables()
            workers.check_agreement(strategy, {"step of the checkpoint": self.state.step})
        except ValueError as error:
            raise CheckpointError(str(error)) from error
        return self.state

    def fit(
        self,
        batches: Callable[[int], Any],
        epochs: int,
        steps_per_epoch: int,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> keras.callbacks.History:
        """Trains the restored model to the last epoch.

        Args:
            batches: Returns endless data for `BarlowTwins.fit`, from the batch of a given step
                on; steps count from 0. It must return the same batches for the same step,
                whenever it is called: `data.Images.shuffled_batches(first_step=...)` does,
                and `dataset.repeat().skip` for a dataset without an unseeded `shuffle`.
            epochs: Epochs of the whole training.
            steps_per_epoch: Steps in an epoch.
            callbacks: Keras callbacks. Keras's `fit` may be called several times; callbacks
                see a single training. Their own state, as in EarlyStopping, is not saved. A
                callback may set `stop_training` only at the end of an epoch.

        Returns:
            Keras's `History`, as `Model.fit` returns it, with all epochs of the training. Those
            before a resumption are included. Its `history` also has "learning_rate", "step" and
            "seconds" at the end of each epoch.

        Raises:
            ValueError: If `restore` was not called, `batches` returns data that ends, or
                `steps_per_epoch` is not that of the checkpoint.
            FloatingPointError: If a step with NaN or infinity ends the training. Names the
                step, the term of the loss and the layer.
            OSError: If the last checkpoint cannot be written.
        """
        if not hasattr(self, "_model"):
            raise ValueError("There is no model to train yet; call restore(model) before fit().")
        if self._model.optimizer is not self._optimizer:
            raise ValueError("The model was compiled after restore(); call restore() again.")
        if self.state.step and self.state.steps_per_epoch != steps_per_epoch:
            raise ValueError(
                f"steps_per_epoch must stay {self.state.steps_per_epoch}, its value at the "
                f"beginning of the training, got {steps_per_epoch}."
            )
        self.state.begin(steps_per_epoch)
        if self.on_nonfinite == "rewind" and not self._checkpoints.steps():
            self.save()
        TrainingLoop(
            self._model,
            self.state,
            self.save,
            CheckpointSchedule(self.state.step, self.every_minutes, self.every_steps),
            NonfiniteSteps(
                self.on_nonfinite,
                self.most_nonfinite,
                self._model,
                self.state,
                self._checkpoints,
            ),
            batches,
            epochs,
            callbacks,
        ).run()
        return self._history(epochs)

    def save(self) -> None:
        """Writes a checkpoint of the current state, on the chief.

        Raises:
            OSError: If writing fails. The message names the space needed.
        """
        self.state.copy_to_variables()
        self._checkpoints.save(self.state.step)

    def _history(self, epochs: int) -> keras.callbacks.History:
        """The logs of all epochs as Keras's `History`."""
        history = keras.callbacks.History()
        history.set_model(self._model)
        history.set_params({"verbose": 0, "epochs": epochs, "steps": self.state.steps_per_epoch})
        history.on_train_begin()
        for line in self.state.history:
            logs = {name: value for name, value in line.items() if name != "epoch"}
            history.on_epoch_end(line["epoch"] - 1, logs)
        return history


def _check_model(model: BarlowTwins, on_nonfinite: str) -> None:
    """Rejects unsupported settings of `compile`."""
    if getattr(model, "step_guard", None) is None:
        raise ValueError("The model must be compiled with hold_nonfinite=True.")
    if model.steps_per_execution > 1:
        raise ValueError(
            f"steps_per_execution must be 1, got {model.steps_per_execution}: ResumableTraining "
            "must be able to save after each step."
        )
    optimizer: Any = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if on_nonfinite == "rewind" and optimizer.gradient_accumulation_steps:
        raise ValueError(
            "on_nonfinite='rewind' does not support gradient_accumulation_steps; use 'skip' or "
            "'stop'."
        )
    if optimizer.use_ema:
        raise ValueError(
            "use_ema=True cannot be resumed: Keras replaces the weights by their averages "
            "at the end of each `fit`."
        )
