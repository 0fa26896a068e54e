"""What the loss was before anything was learned."""

import logging

import keras


class StartLoss(keras.callbacks.Callback):
    """Keeps the loss of the first step, that of an untrained network, in start.json.

    The file is written at once, so that a run which is started again knows it.

    Args:
        folder: `RunFolder`.
        health: `EmbeddingHealth`, which notes that loss, and comes before this in `fit`; it
            is told what the file says.

    Example:
        >>> import tempfile
        >>> from keras_bt.evaluation import EmbeddingHealth
        >>> from keras_bt.run import RunFolder
        >>> health = EmbeddingHealth(None, batch_size=8, untrained_loss=259.5)
        >>> start = StartLoss(RunFolder(tempfile.mkdtemp(), {}), health)
        >>> start.on_train_batch_end(0)
        >>> start.loss, start.folder.read("start")
        (259.5, {'untrained_loss': 259.5})
    """

    def __init__(self, folder, health):
        super().__init__()
        self.folder = folder
        self.health = health
        noted = folder.read("start")
        if noted:
            health.untrained_loss = noted["untrained_loss"]
        self._noted = noted is not None

    @property
    def loss(self):
        """Float, or None if it is not known."""
        return self.health.untrained_loss

    def on_train_batch_end(self, batch, logs=None):
        if self._noted or self.loss is None:
            return
        self._noted = True
        try:
            self.folder.once("start", lambda: {"untrained_loss": self.loss})
        except OSError as error:  # a full disk does not end a training
            logging.getLogger("keras_bt").warning("%s Training goes on.", error)
