"""`StartLoss`: stores the loss and the accuracy of the untrained network."""

import logging
from typing import Any

import keras

from keras_bt.evaluation import EmbeddingHealth
from keras_bt.run.folder import RunFolder


class StartLoss(keras.callbacks.Callback):
    """Writes the loss of the first step to start.json.

    The file is written at once, so that a resumed run has the loss.

    Args:
        folder: The folder of the run.
        health: Records that loss; it must come before this callback in `fit`. If the file
            exists, it gets the loss from there.

    Example:
        >>> import tempfile
        >>> health = EmbeddingHealth(None, batch_size=8, untrained_loss=259.5)
        >>> start = StartLoss(RunFolder(tempfile.mkdtemp(), {}), health)
        >>> start.on_train_batch_end(0)
        >>> start.loss, start.folder.read("start")
        (259.5, {'untrained_loss': 259.5})
    """

    def __init__(self, folder: RunFolder, health: EmbeddingHealth) -> None:
        super().__init__()
        self.folder = folder
        self.health = health
        stored = folder.read("start")
        if stored:
            health.untrained_loss = stored["untrained_loss"]
        self._written = stored is not None

    @property
    def untrained_accuracy(self) -> tuple[float, int] | None:
        """See `EmbeddingHealth.untrained_accuracy`."""
        return self.health.untrained_accuracy

    @property
    def loss(self) -> float | None:
        """The loss of the first step, or None if it is not known."""
        return self.health.untrained_loss

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._written or self.loss is None:
            return
        self._written = True
        try:
            self.folder.once("start", lambda: {"untrained_loss": self.loss})
        except OSError as error:  # such as a full disk
            logging.getLogger("keras_bt").warning("%s Training continues.", error)
