"""Calls `fit` until a training ends; saves and handles signals between steps."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import keras
import tensorflow as tf

from keras_bt.distribution import workers
from keras_bt.model.barlow_twins import BarlowTwins
from keras_bt.training.callback_list import ContinuousCallbackList
from keras_bt.training.nonfinite_steps import NonfiniteStepError, NonfiniteSteps
from keras_bt.training.schedule import CheckpointSchedule
from keras_bt.training.signals import SignalHandler, TrainingInterrupted
from keras_bt.training.state import TrainingState

EXIT_SECONDS = 20.0

log = logging.getLogger("keras_bt")


class TrainingLoop:
    """One training of a restored model, from its current step to its last epoch.

    The device runs steps asynchronously. About once a second the loop waits for it
    (`_synchronize`). It then checks for non-finite steps, signals and due checkpoints.

    Args:
        model: Compiled with `hold_nonfinite=True`.
        state: The state of the training, with `steps_per_epoch`.
        save: Writes a checkpoint of the state.
        schedule: When checkpoints are due.
        nonfinite_steps: Handles steps with NaN or infinity.
        batches: See `ResumableTraining.fit`.
        epochs: Epochs of the whole training.
        callbacks: Keras callbacks.
    """

    def __init__(
        self,
        model: BarlowTwins,
        state: TrainingState,
        save: Callable[[], None],
        schedule: CheckpointSchedule,
        nonfinite_steps: NonfiniteSteps,
        batches: Callable[[int], Any],
        epochs: int,
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> None:
        assert model.step_guard is not None  # see `ResumableTraining.restore`
        self._model, self._guard = model, model.step_guard
        self._strategy = model.distribute_strategy
        self._state, self._save, self._schedule = state, save, schedule
        self._nonfinite_steps = nonfinite_steps
        self._batches, self._epochs = batches, epochs
        self._callbacks = ContinuousCallbackList(
            callbacks,
            model,
            epochs,
            state.steps_per_epoch,
            begin_epoch=self._begin_epoch,
            begin_step=self._begin_step,
            end_step=self._end_step,
            end_epoch=self._end_epoch,
            save_epoch=self._save_epoch,
        )
        self._signals = SignalHandler()
        self._next_sync_step = self._fit_begin_step = self._epoch_begin_step = state.step

    def run(self) -> None:
        """Trains to the last epoch; see `ResumableTraining.fit` for the errors."""
        self._callbacks.begin()
        self._model.stop_training = False
        try:
            while not self._model.stop_training and self._state.ended_epochs < self._epochs:
                try:
                    self._train_epochs()
                except _StepHeld as held:
                    self._handle_nonfinite(held.term)
            self._signals.delayed = True
            self._save()
            self._signals.release()
        except TrainingInterrupted as interrupted:
            self._save_and_exit(interrupted)
        except OSError:
            self._callbacks.end()
            raise
        finally:
            self._signals.close()
        self._callbacks.end()

    def _train_epochs(self) -> None:
        """Trains to the end of an incomplete epoch, or else through all remaining epochs."""
        state = self._state
        self._signals.delayed = True  # `fit` resets the sums of the metrics
        self._guard.reset()
        self._fit_begin_step = state.step
        epoch, earlier_steps = divmod(state.step, state.steps_per_epoch)
        if state.ended_epochs < epoch:
            self._end_trained_epoch(epoch - 1)
            return
        data = self._batches(state.step)
        if isinstance(data, tf.data.Dataset) and data.cardinality() >= 0:
            raise ValueError(
                "batches must return endless data, such as dataset.repeat().skip; got a dataset "
                f"of {int(data.cardinality())} batches."
            )
        self._model.fit(
            data,
            initial_epoch=epoch,
            epochs=epoch + 1 if earlier_steps else self._epochs,
            steps_per_epoch=state.steps_per_epoch - earlier_steps,
            callbacks=self._callbacks,
            verbose=0,
        )
        if state.step == self._fit_begin_step:
            raise ValueError(f"batches returned no data for step {state.step}.")

    def _end_trained_epoch(self, epoch: int) -> None:
        """Calls the callbacks of an epoch that was interrupted after its last step."""
        self._callbacks.begin_trained_epoch(epoch)
        self._state.restore_metrics()
        self._release_signals()
        logs = self._model.get_metrics_result()
        self._callbacks.on_epoch_end(epoch, {name: float(logs[name]) for name in logs})

    def _begin_epoch(self) -> int:
        self._epoch_begin_step = self._state.step
        earlier_steps = self._state.step % self._state.steps_per_epoch
        if earlier_steps:
            self._state.restore_metrics()
        return earlier_steps

    def _begin_step(self) -> None:
        self._signals.delayed = True

    def _end_step(self, steps: int) -> None:
        self._state.step = self._epoch_begin_step + steps
        self._signals.listen()  # before the first step there is nothing to save
        if self._state.step >= self._next_sync_step:
            self._synchronize()
        self._release_signals()

    def _release_signals(self) -> None:
        """Ends the delay of signals in a single process; workers share them in `_synchronize`."""
        if not workers.has_workers(self._strategy):
            self._signals.release()

    def _synchronize(self) -> None:
        """Waits for the device; then detects held steps, saves, and shares signals."""
        state = self._state
        if term := self._guard.nonfinite_term():
            self._return_to_held_step()
            raise _StepHeld(term)
        if state.step % state.steps_per_epoch:  # the last step is saved after the callbacks
            self._save_if_due()
        steps = self._schedule.steps_until_sync(state.step)
        if self._nonfinite_steps.action != "stop":
            steps = 1  # callbacks must not count held steps
        received = workers.gather_from_workers(self._strategy, [self._signals.received, steps])
        self._next_sync_step = state.step + received[0][1]
        if numbers := [number for number, _ in received if number]:
            raise TrainingInterrupted(numbers[0])

    def _return_to_held_step(self) -> None:
        """Sets the state to the last step that was not held."""
        self._state.step = self._fit_begin_step + self._guard.finite_steps()

    def _end_epoch(self) -> None:
        self._signals.delayed = True
        self._synchronize()
        self._signals.release()  # monitors may take long

    def _save_epoch(self, epoch: int, logs: dict[str, Any]) -> None:
        self._signals.delayed = True
        self._state.add_epoch(epoch, logs)
        self._save_if_due()
        self._signals.release()

    def _save_if_due(self) -> None:
        if not self._schedule.is_due(self._state.step):
            return
        try:
            self._save()
        except OSError as error:
            log.warning("%s Training continues and saves again later.", error)
            self._schedule.record_failed(self._state.step)
        else:
            self._schedule.record_saved(self._state.step)

    def _handle_nonfinite(self, term: str) -> None:
        """Moves the state past the held step, or saves it and raises."""
        self._signals.delayed = True
        batch = next(iter(self._batches(self._state.step)))
        try:
            self._nonfinite_steps.handle(term, batch)
        except NonfiniteStepError:
            self._save()
            self._callbacks.end()
            raise

    def _save_and_exit(self, interrupted: TrainingInterrupted) -> NoReturn:
        """Saves a checkpoint and ends the process as the signal does."""
        self._signals.delayed = True
        if self._guard.nonfinite_term():  # since the last synchronization
            self._return_to_held_step()
        step = self._state.step
        try:
            self._save()
            log.warning(
                "%s at step %d; run the same command to continue from there.", interrupted, step
            )
            self._callbacks.end()
        except OSError as error:
            log.error("%s at step %d. %s", interrupted, step, error)
        with contextlib.suppress(tf.errors.OpError):
            workers.leave_together(self._strategy, EXIT_SECONDS)
        interrupted.exit()


class _StepHeld(Exception):
    """The model holds a step with NaN or infinity."""

    def __init__(self, term: str) -> None:
        super().__init__(term)
        self.term = term
