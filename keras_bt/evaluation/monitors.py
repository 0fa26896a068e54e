"""Callbacks that look at the encoder while `fit` trains it."""

import keras
import numpy as np

from keras_bt.evaluation.embedding import compile_encoder, embed_compiled
from keras_bt.evaluation.knn import knn_accuracy


class KNNMonitor(keras.callbacks.Callback):
    """Logs the k-NN accuracy of the model's representations during `fit`.

    Adds `knn_accuracy` to the logs of the epochs at whose end it looks, and so to the
    history and to every callback after it.

    Args:
        train: `tf.data.Dataset` of labelled batches: the neighbours.
        test: `tf.data.Dataset` of labelled batches, held out.
        every_epochs: Int. Looks after each so many epochs, and after the last.
        k: See `knn_accuracy`.
        temperature: See `knn_accuracy`.

    Raises:
        FloatingPointError: At the end of an epoch, if the representations are NaN or infinite.

    Example:
        >>> import tensorflow as tf
        >>> data = tf.data.Dataset.from_tensors((tf.zeros([2, 4, 4, 3], tf.uint8), [0, 1]))
        >>> KNNMonitor(data, data, every_epochs=5).every_epochs
        5
    """

    def __init__(self, train, test, every_epochs=1, k=200, temperature=0.1):
        super().__init__()
        if every_epochs < 1:
            raise ValueError(f"every_epochs must be at least 1, got {every_epochs}.")
        self.train = train
        self.test = test
        self.every_epochs = every_epochs
        self.k = k
        self.temperature = temperature

    def on_train_begin(self, logs=None):
        self._encode = compile_encoder(self.model)

    def on_epoch_end(self, epoch, logs=None):
        last = epoch + 1 == self.params["epochs"]
        if logs is None or ((epoch + 1) % self.every_epochs and not last):
            return
        train, train_labels = embed_compiled(self._encode, self.train)
        test, test_labels = embed_compiled(self._encode, self.test)
        if not (np.isfinite(train).all() and np.isfinite(test).all()):
            raise FloatingPointError(
                f"The representations after epoch {epoch + 1} are not finite; a lower learning "
                "rate may help."
            )
        logs["knn_accuracy"] = knn_accuracy(
            train, train_labels, test, test_labels, k=self.k, temperature=self.temperature
        )
