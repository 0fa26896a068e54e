"""Training that goes on where it was, in a new process or after numbers that are not finite."""

import contextlib
import logging
import time

import tensorflow as tf

from keras_bt.distribution import workers
from keras_bt.model.nonfinite import first_nonfinite
from keras_bt.model.optimizers import steps_made
from keras_bt.training.callback_list import ContinuousCallbackList
from keras_bt.training.checkpoint import CheckpointError, Checkpoints
from keras_bt.training.schedule import CheckpointSchedule
from keras_bt.training.signals import SignalHandler, TrainingInterrupted
from keras_bt.training.state import TrainingState

ON_NONFINITE = ("stop", "skip", "rewind")
LEAVE_SECONDS = 20.0

log = logging.getLogger("keras_bt")


class ResumableTraining:
    """Trains a model so that what is trained is not lost.

    Every so often, at SIGTERM and SIGINT, and at the end it saves all that training goes on
    from: weights, the state of views and other random layers, the optimizer, the place in the
    data, the logs and the time spent. Killed at any moment and started
    again it ends as if it had never been killed: to the last bit, where two undisturbed
    trainings agree to the last bit. On several workers the chief writes and all read: the
    folder has to be one that all of them see, and that no other training uses.

    Args:
        directory: Folder of the checkpoints; see `checkpoint.Checkpoints`.
        every_minutes: Float. Between checkpoints.
        every_steps: Int or None. Saves also after so many steps.
        keep: Int. How many checkpoints to keep.
        settings: Dict that JSON can hold. A checkpoint with others is refused.
        on_nonfinite: What follows a step with NaN or an infinity in its loss or gradient.
            The weights are kept from it, and where it began is said. "stop" ends the
            training there; "skip" goes on with the next batch; "rewind" goes on with the
            next batch and the weights of the last checkpoint.
        most_nonfinite: Int. So many may be skipped or rewound; the next ends the training.
        writes: Bool. False for all workers but the chief.

    Attributes:
        state: `TrainingState`: how far it is, and its history.

    Example:
        >>> import tempfile
        >>> import keras_bt
        >>> from keras_bt.layers import views
        >>> from keras_bt.model.barlow_twins import BarlowTwins
        >>> images = tf.data.Dataset.from_tensors(tf.zeros([4, 8, 8, 3])).repeat()
        >>> def train(epochs, folder):
        ...     encoder = keras_bt.resnet18((8, 8, 3), width=1, stem="small")
        ...     pair = views.small_image_views(8, seed=0)
        ...     model = BarlowTwins(encoder, keras_bt.projector(8, (4,)), pair)
        ...     model.compile("sgd", hold_nonfinite=True)
        ...     training = ResumableTraining(folder)
        ...     before = training.restore(model).step
        ...     training.fit(images.skip, epochs, steps_per_epoch=2)
        ...     return before, training.state.step
        >>> folder = tempfile.mkdtemp()
        >>> train(1, folder), train(2, folder), train(2, folder)
        ((0, 2), (2, 4), (4, 4))
    """

    def __init__(
        self,
        directory,
        every_minutes=10.0,
        every_steps=None,
        keep=3,
        settings=None,
        on_nonfinite="stop",
        most_nonfinite=10,
        writes=True,
    ):
        if on_nonfinite not in ON_NONFINITE:
            raise ValueError(f"on_nonfinite must be one of {ON_NONFINITE}, got {on_nonfinite!r}.")
        if not every_minutes >= 0:  # NaN included
            raise ValueError(f"every_minutes must be at least 0, got {every_minutes}.")
        if every_steps is not None and every_steps < 1:
            raise ValueError(f"every_steps must be at least 1, got {every_steps}.")
        self.directory = directory
        self.every_minutes = every_minutes
        self.every_steps = every_steps
        self.keep = keep
        self.settings = settings
        self.on_nonfinite = on_nonfinite
        self.most_nonfinite = most_nonfinite
        self.writes = writes

    def restore(self, model):
        """Brings a compiled, built model to the newest checkpoint that is whole.

        Args:
            model: `BarlowTwins`, compiled with `hold_nonfinite=True`.

        Returns:
            `TrainingState`; its `step` is 0 without a checkpoint.

        Raises:
            CheckpointError: If the checkpoint is of another model or other settings, all are
                damaged, or workers see different ones.
            ValueError: If the model cannot be trained so.
        """
        _check_model(model, self.on_nonfinite)
        self._model, self._strategy = model, model.distribute_strategy
        if not model.optimizer.built:
            with self._strategy.scope():
                model.optimizer.build(model.trainable_variables)
        self._optimizer = model.optimizer
        self.state = TrainingState(model)
        self._checkpoints = Checkpoints(
            self.directory, self.state.variables, self.settings, self.keep
        )
        try:
            workers.run_on_chief_first(
                self._strategy, lambda: self._checkpoints.restore(self.writes)
            )
            self.state.recall()
            workers.check_agreement(self._strategy, {"step of the checkpoint": self.state.step})
        except ValueError as error:
            raise CheckpointError(str(error)) from error
        return self.state

    def fit(self, batches, epochs, steps_per_epoch, callbacks=()):
        """Trains the restored model to the end.

        Args:
            batches: Function from a step to what `BarlowTwins.fit` takes: the data from that
                step's batch on, without end, such as `dataset.repeat().skip`.
            epochs: Int. Of the whole training.
            steps_per_epoch: Int.
            callbacks: Keras callbacks. To them it is one training, however often it is held
                up in this process; what they remember themselves, as EarlyStopping does, is
                not saved. One that ends it early is to do so at the end of an epoch.

        Raises:
            ValueError: If `batches` gives data that ends, or the training began with another
                `steps_per_epoch`.
            FloatingPointError: If numbers are not finite and it is not to go on, naming the
                step, the term of the loss and the layer.
            OSError: If the last checkpoint cannot be written.
        """
        if self._model.optimizer is not self._optimizer:
            raise ValueError("The model was compiled anew; restore() has to come after compile().")
        if self.state.step and self.state.steps_per_epoch != steps_per_epoch:
            raise ValueError(
                f"steps_per_epoch was {self.state.steps_per_epoch} when the training began, "
                f"is {steps_per_epoch} now."
            )
        self.state.steps_per_epoch = steps_per_epoch
        self._batches, self._epochs, self._steps_per_epoch = batches, epochs, steps_per_epoch
        self._callbacks = ContinuousCallbackList(
            callbacks,
            self._model,
            epochs,
            steps_per_epoch,
            begin_epoch=self._begin_epoch,
            begin_step=self._begin_step,
            end_step=self._end_step,
            end_epoch=self._end_epoch,
            epoch_was_told=self._epoch_was_told,
        )
        self._interruption = SignalHandler()
        self._began = time.monotonic() - self.state.seconds
        self._pace = CheckpointSchedule(self.state.step, self.every_minutes, self.every_steps)
        self._next_look = self.state.step
        if self.on_nonfinite == "rewind" and not self._checkpoints.steps():
            self.save()
        self._callbacks.begin()
        self._model.stop_training = False
        try:
            while not self._model.stop_training and self.state.ended_epochs < epochs:
                try:
                    self._fit_on()
                except _Held as held:
                    self._meet_nonfinite(held.term)
            self._interruption.held = True
            self.save()
            self._interruption.release()
        except TrainingInterrupted as interrupted:
            self._leave(interrupted)
        except OSError:
            self._callbacks.end()
            raise
        finally:
            self._interruption.close()
        self._callbacks.end()

    def save(self):
        """Writes a checkpoint of the state as it is; only the chief does.

        Raises:
            OSError: If it cannot be written, saying how much room is needed.
        """
        self.state.seconds = time.monotonic() - self._began
        self.state.note()
        if self.writes:
            self._checkpoints.save(self.state.step)
        self._pace.saved(self.state.step)

    def _fit_on(self):
        """Tells of an epoch whose steps are done; else trains, a begun epoch to its end first."""
        self._interruption.held = True  # `fit` resets the sums of the logs
        self._model.step_guard.reset()
        self._reset_at = self.state.step
        epoch, done = divmod(self.state.step, self._steps_per_epoch)
        if self.state.ended_epochs < epoch:
            self._callbacks.begin_told_epoch(epoch - 1)
            self.state.recall_logs()
            self._release_if_alone()
            logs = self._model.get_metrics_result()
            self._callbacks.on_epoch_end(epoch - 1, {name: float(logs[name]) for name in logs})
            return
        data = self._batches(self.state.step)
        if isinstance(data, tf.data.Dataset) and data.cardinality() >= 0:
            raise ValueError("batches must give data without end, such as dataset.repeat().skip.")
        self._model.fit(
            data,
            initial_epoch=epoch,
            epochs=epoch + 1 if done else self._epochs,
            steps_per_epoch=self._steps_per_epoch - done,
            callbacks=self._callbacks,
            verbose=0,
        )
        if self.state.step == self._reset_at:
            raise ValueError(f"batches gave no data from step {self._reset_at} on.")

    def _begin_epoch(self):
        self._before_epoch = self.state.step
        done = self.state.step % self._steps_per_epoch
        if done:
            self.state.recall_logs()
        return done

    def _begin_step(self):
        self._interruption.held = True

    def _end_step(self, steps):
        self.state.step = self._before_epoch + steps
        self._interruption.listen()  # before the first step there is nothing to lose
        if self.state.step >= self._next_look:
            self._look()
        self._release_if_alone()

    def _release_if_alone(self):
        if not workers.has_workers(self._strategy):  # several leave together, at a look
            self._interruption.release()

    def _look(self):
        """Waits for the device, then does what was waiting for the end of a step."""
        guard = self._model.step_guard
        if term := guard.held_by():
            self.state.step = self._reset_at + guard.steps()
            raise _Held(term)
        if self.state.step % self._steps_per_epoch:  # else when its epoch was told
            self._save_if_due()
        steps = self._pace.steps_to_look(self.state.step)
        if self.on_nonfinite != "stop":
            steps = 1  # callbacks are not to count steps that are held
        told = workers.gather_from_workers(self._strategy, [self._interruption.signal, steps])
        self._next_look = self.state.step + told[0][1]
        if came := [number for number, _ in told if number]:
            raise TrainingInterrupted(came[0])

    def _end_epoch(self):
        self._interruption.held = True
        self._look()
        self._interruption.release()  # monitors may take long

    def _epoch_was_told(self, epoch, logs):
        self._interruption.held = True
        line = {
            "epoch": epoch + 1,
            "step": self.state.step,
            "seconds": round(time.monotonic() - self._began, 3),
            "learning_rate": float(self._model.optimizer.learning_rate),
        }
        self.state.history.append({**line, **{name: float(logs[name]) for name in logs}})
        self.state.ended_epochs = self.state.step // self._steps_per_epoch
        self._save_if_due()
        self._interruption.release()

    def _save_if_due(self):
        if not self._pace.due(self.state.step):
            return
        try:
            self.save()
        except OSError as error:
            log.warning("%s Training goes on, and it is tried again.", error)
            self._pace.failed(self.state.step)

    def _meet_nonfinite(self, term):
        self._interruption.held = True
        state, where = self.state, self._where_nonfinite()
        message = (
            f"Step {state.step + 1} (epoch {state.step // self._steps_per_epoch + 1}): the {term} "
            f"of the loss is not finite"
            + (f", first {where}." if where else "; done again, the same step is finite.")
        )
        last_of_epoch = (state.step + 1) % self._steps_per_epoch == 0
        if self.on_nonfinite == "stop":
            self._give_up(
                f"{message} The weights are those before it. A lower learning rate may help."
            )
        if state.nonfinite_steps >= self.most_nonfinite:
            self._give_up(
                f"{message} It is one more than the {self.most_nonfinite} that may be passed over."
            )
        if last_of_epoch and float(self._model.invariance_tracker.count) == 0:
            self._give_up(f"{message} No step of this epoch was finite.")
        log.warning("%s Going on by %s.", message, self.on_nonfinite)
        state.nonfinite_steps += 1
        state.step += 1
        state.note()
        if self.on_nonfinite == "rewind":
            self._rewind()

    def _give_up(self, message):
        self.save()
        self._callbacks.end()
        raise FloatingPointError(message)

    def _where_nonfinite(self):
        batch = next(iter(self._batches(self.state.step)))
        told = workers.gather_from_workers(self._strategy, first_nonfinite(self._model, batch))
        return next(filter(None, told), None)

    def _rewind(self):
        """Takes the weights back, and not the place in the data and in the schedule."""
        progress = self.state.progress()
        iterations = steps_made(self._model.optimizer)
        self._checkpoints.restore(self.writes)
        self.state.go_on_from(progress)
        self._model.optimizer.iterations.assign(iterations)

    def _leave(self, interrupted):
        self._interruption.held = True
        if self._model.step_guard.held_by():  # since the last look
            self.state.step = self._reset_at + self._model.step_guard.steps()
        try:
            self.save()
            log.warning("%s at step %d; the same command goes on.", interrupted, self.state.step)
            self._callbacks.end()
        except OSError as error:
            log.error("%s at step %d. %s", interrupted, self.state.step, error)
        with contextlib.suppress(tf.errors.OpError):
            workers.leave_together(self._strategy, LEAVE_SECONDS)
        interrupted.leave()


class _Held(Exception):
    """The model holds a step whose numbers are not finite."""

    def __init__(self, term):
        super().__init__(term)
        self.term = term


def _check_model(model, on_nonfinite):
    if getattr(model, "step_guard", None) is None:
        raise ValueError("The model has to be compiled, with hold_nonfinite=True.")
    if model.steps_per_execution > 1:
        raise ValueError("steps_per_execution must be 1: training is left between any two steps.")
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if on_nonfinite == "rewind" and optimizer.gradient_accumulation_steps:
        raise ValueError("on_nonfinite='rewind' does not go with gradient_accumulation_steps.")
    if optimizer.use_ema:
        raise ValueError(
            "use_ema=True cannot be resumed: Keras replaces the weights by their averages "
            "whenever `fit` returns."
        )
