"""Schedule of a training: when it saves a checkpoint, and when it waits for its device.

`training.loop` asks it, and saves at the end, at a signal and before an error in any case.
"""

import time

SYNC_SECONDS = 1.0
RETRY_SECONDS = 60.0


class CheckpointSchedule:
    """Decides when the next checkpoint and the next synchronization are due.

    Args:
        step: Step of the last checkpoint.
        every_minutes: Time between checkpoints.
        every_steps: Steps between checkpoints, if that is sooner; None for no such limit.

    Example:
        >>> schedule = CheckpointSchedule(step=100, every_minutes=60.0, every_steps=20)
        >>> schedule.is_due(119), schedule.is_due(120)
        (False, True)
        >>> schedule.record_saved(120)
        >>> schedule.is_due(139)
        False
        >>> schedule.steps_until_sync(139)
        1
    """

    def __init__(self, step: int, every_minutes: float, every_steps: int | None) -> None:
        self.every_minutes = every_minutes
        self.every_steps = every_steps
        self._sync_time, self._sync_step = time.monotonic(), step
        self.record_saved(step)

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint is due at a step."""
        by_steps = self.every_steps and step - self._saved_step >= self.every_steps
        return bool(by_steps) or time.monotonic() >= self._saved_time + 60 * self.every_minutes

    def record_saved(self, step: int) -> None:
        """Records that the checkpoint of a step is written."""
        self._saved_time, self._saved_step = time.monotonic(), step

    def record_failed(self, step: int) -> None:
        """Records that writing failed. The next checkpoint is due in a minute."""
        self.record_saved(step)
        self._saved_time += RETRY_SECONDS - 60 * self.every_minutes

    def steps_until_sync(self, step: int) -> int:
        """Number of steps that take about a second, from the speed since the last call.

        Args:
            step: The current step.

        Returns:
            At least 1, and at most the steps until a checkpoint is due.
        """
        now = time.monotonic()
        steps_per_second = (step - self._sync_step) / max(now - self._sync_time, 1e-6)
        self._sync_time, self._sync_step = now, step
        steps = max(1, int(SYNC_SECONDS * steps_per_second))
        return min(steps, self._saved_step + self.every_steps - step) if self.every_steps else steps
