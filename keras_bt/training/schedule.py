"""When a training looks at what its device has done, and when it saves."""

import time

LOOK_SECONDS = 1.0
RETRY_SECONDS = 60.0


class CheckpointSchedule:
    """Counts steps and seconds since the last look and the last checkpoint.

    Args:
        step: Int, of the last checkpoint.
        every_minutes: Float. Between checkpoints.
        every_steps: Int or None. Between checkpoints, if sooner.

    Example:
        >>> pace = CheckpointSchedule(step=100, every_minutes=60.0, every_steps=20)
        >>> pace.due(119), pace.due(120)
        (False, True)
        >>> pace.saved(120)
        >>> pace.due(139)
        False
        >>> pace.steps_to_look(139)
        1
    """

    def __init__(self, step, every_minutes, every_steps):
        self.every_minutes = every_minutes
        self.every_steps = every_steps
        self._looked_at, self._looked_step = time.monotonic(), step
        self.saved(step)

    def due(self, step):
        """Whether a checkpoint is due after so many steps."""
        by_steps = self.every_steps and step - self._saved_step >= self.every_steps
        return bool(by_steps) or time.monotonic() >= self._saved_at + 60 * self.every_minutes

    def saved(self, step):
        """A checkpoint of this step was written."""
        self._saved_at, self._saved_step = time.monotonic(), step

    def failed(self, step):
        """It could not be written; another is due in a minute."""
        self.saved(step)
        self._saved_at += RETRY_SECONDS - 60 * self.every_minutes

    def steps_to_look(self, step):
        """How many steps a second holds, judged by those since the last call; at least one.

        Args:
            step: Int, the present one.

        Returns:
            Int, no more than there are until a checkpoint is due.
        """
        now = time.monotonic()
        steps_a_second = (step - self._looked_step) / max(now - self._looked_at, 1e-6)
        self._looked_at, self._looked_step = now, step
        steps = max(1, int(LOOK_SECONDS * steps_a_second))
        return min(steps, self._saved_step + self.every_steps - step) if self.every_steps else steps
