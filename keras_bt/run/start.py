"""What the loss was before anything was learned."""

import logging

import keras


class StartLoss(keras.callbacks.Callback):
    """Notes the loss of the first step, that of an untrained network, in start.json.

    The file is written at once, so that a run which is started again knows it.

    Args:
        folder: `RunFolder`.
        first_step: Int. Where the training goes on; after 0 only the file can tell.

    Attributes:
        loss: Float, or None if it is not known.

    Example:
        >>> import tempfile
        >>> from keras_bt.run import RunFolder
        >>> start = StartLoss(RunFolder(tempfile.mkdtemp(), {}), first_step=0)
        >>> start.on_train_batch_end(0, {"loss": 259.5})
        >>> start.loss, start.folder.read("start")
        (259.5, {'untrained_loss': 259.5})
    """

    def __init__(self, folder, first_step):
        super().__init__()
        self.folder = folder
        self.first_step = first_step
        self.loss = (folder.read("start") or {}).get("untrained_loss")

    def on_train_batch_end(self, batch, logs=None):
        if self.loss is not None or self.first_step > 0:
            return
        # A step that is held because its numbers are not finite leaves a loss of 0.
        if loss := float(logs["loss"]):
            self.loss = loss
            try:
                self.folder.once("start", lambda: {"untrained_loss": loss})
            except OSError as error:  # a full disk does not end a training
                logging.getLogger("keras_bt").warning("%s Training goes on.", error)
