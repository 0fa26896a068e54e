"""Training steps with NaN or infinity: explains them, then stops, skips or rewinds.

`model.step_guard` has held the step by then: it changed nothing. The default is to stop.
"""

import dataclasses
import logging
from typing import Any

from keras_bt.distribution import workers
from keras_bt.model.barlow_twins import BarlowTwins
from keras_bt.model.nonfinite import first_nonfinite
from keras_bt.model.optimizers import steps_made
from keras_bt.training.checkpoint import Checkpoints
from keras_bt.training.state import TrainingState

ACTIONS = ("stop", "skip", "rewind")

log = logging.getLogger("keras_bt")


class NonfiniteStepError(FloatingPointError):
    """A step with NaN or infinity that ends the training."""


@dataclasses.dataclass(frozen=True)
class NonfiniteSteps:
    """Decides how a training continues after a step with NaN or infinity.

    Args:
        action: "stop", "skip" or "rewind"; see `ResumableTraining`.
        limit: Largest number of steps that may be skipped or rewound.
        model: Its `step_guard` holds the step.
        state: The state before the step.
        checkpoints: Rewinding restores the newest one.
    """

    action: str
    limit: int
    model: BarlowTwins
    state: TrainingState
    checkpoints: Checkpoints

    def handle(self, term: str, batch: Any) -> None:
        """Moves the state past the step.

        Args:
            term: The term of the loss that is not finite.
            batch: The batch of the step.

        Raises:
            NonfiniteStepError: If the training must end. The state stays before the step.
        """
        state = self.state
        message = self._describe(term, batch)
        if reason := self._reason_to_end():
            raise NonfiniteStepError(f"{message} {reason}")
        log.warning("%s Training continues (on_nonfinite=%r).", message, self.action)
        state.nonfinite_steps += 1
        state.step += 1
        state.copy_to_variables()
        if self.action == "rewind":
            self._rewind()

    def _describe(self, term: str, batch: Any) -> str:
        """One sentence with the step, the term of the loss, and the layer or gradient."""
        step = self.state.step
        found = workers.gather_from_workers(
            self.model.distribute_strategy, first_nonfinite(self.model, batch)
        )
        where = next(filter(None, found), None)
        return (
            f"Step {step + 1} (epoch {step // self.state.steps_per_epoch + 1}): "
            f"the {term} of the loss is not finite, "
            + (f"first {where}." if where else "but it is finite when the step is repeated.")
        )

    def _reason_to_end(self) -> str | None:
        """Why the training cannot continue, or None."""
        state = self.state
        if self.action == "stop":
            return "The weights are those before this step. A lower learning rate may help."
        if state.nonfinite_steps >= self.limit:
            return f"This is one more than most_nonfinite={self.limit} allows."
        last_of_epoch = (state.step + 1) % state.steps_per_epoch == 0
        if last_of_epoch and float(self.model.invariance_tracker.count) == 0:
            return "No step of this epoch was finite."
        return None

    def _rewind(self) -> None:
        """Restores model and optimizer, but neither the progress nor the schedule."""
        progress = self.state.progress()
        iterations = steps_made(self.model.optimizer)
        self.checkpoints.restore()
        self.state.set_progress(progress)
        self.model.optimizer.iterations.assign(iterations)
