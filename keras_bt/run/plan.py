"""`Plan`: how long a run trains, in plan.json."""

import dataclasses
from typing import Any

ROUNDS = 50  # of a training with a budget; after each the plan may change


@dataclasses.dataclass
class Plan:
    """How long a run trains.

    A run with a budget of time changes its number of epochs as it learns how fast it is. Between
    two changes its progress is linear in the steps:

        progress(step) = p + (1 - p) (step - s) / (steps - s)    after a change at step s and p

    Args:
        epochs: Epochs of `fit`. With a budget these are a fiftieth of the run, not passes over the
            images.
        steps_per_epoch: Steps in each.
        images: Number of training images.
        skipped_images: Number of images left out because they cannot be read.
        seconds: Time of the training in a run with a budget, else None.
        changes: [s, p, steps] of each change.

    Example:
        >>> plan = Plan(epochs=10, steps_per_epoch=10, images=500, skipped_images=0, seconds=60.0)
        >>> plan.change(step=50, epochs=20)
        >>> plan.steps, plan.progress(25), plan.progress(50), plan.progress(125)
        (200, 0.25, 0.5, 0.75)
    """

    epochs: int
    steps_per_epoch: int
    images: int
    skipped_images: int
    seconds: float | None = None
    changes: list[list[float]] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.changes = self.changes or [[0, 0.0, self.steps]]

    @property
    def steps(self) -> int:
        """Steps of the whole training, as far as is known."""
        return self.epochs * self.steps_per_epoch

    def progress(self, step: int) -> float:
        """The share of the training before a step, in [0, 1]."""
        begin, share, steps = [change for change in self.changes if change[0] <= step][-1]
        return min(1.0, share + (1.0 - share) * (step - begin) / max(1, steps - begin))

    def change(self, step: int, epochs: int) -> None:
        """Changes the number of epochs, at a step.

        Args:
            step: Later changes are forgotten: a resumed run may be before them.
            epochs: The new number.
        """
        share = self.progress(step)
        self.epochs = epochs
        self.changes = [change for change in self.changes if change[0] < step or not change[0]]
        self.changes.append([step, share, self.steps])

    def with_budget(self, seconds: float, steps: int) -> "Plan":
        """A plan that the clock may change.

        Args:
            seconds: Time of the training.
            steps: As many as are expected in it, at least 1.

        Example:
            >>> plan = Plan(epochs=1000, steps_per_epoch=10, images=500, skipped_images=0)
            >>> plan.with_budget(60.0, steps=700).steps_per_epoch
            14
        """
        rounds = min(ROUNDS, steps)
        return dataclasses.replace(
            self, epochs=rounds, steps_per_epoch=steps // rounds, seconds=seconds, changes=[]
        )

    def settings(self) -> dict[str, Any]:
        """The content of plan.json."""
        return dataclasses.asdict(self)
