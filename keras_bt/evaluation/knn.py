"""k-nearest-neighbour accuracy: the quickest honest look at representations."""

import keras
import numpy as np

from keras_bt.evaluation.embedding import compile_encoder, embed_compiled
from keras_bt.functional.neighbors import knn_vote


def knn_accuracy(train, train_labels, test, test_labels, *, k=200, temperature=0.1):
    """Share of test images whose label the nearest training images vote for.

    Args:
        train: Float array [train_count, features]. Representations.
        train_labels: Int array [train_count].
        test: Float array [test_count, features].
        test_labels: Int array [test_count].
        k: Int, at least 1. Neighbours that vote, by cosine; cut to `train_count`.
        temperature: Float, above 0. A neighbour's weight is exp(cosine / temperature).

    Returns:
        Python float in [0, 1].

    Raises:
        ValueError: If sizes do not match or an argument is out of range.

    Example:
        >>> train, labels = np.float32([[1, 0], [0, 1]]), [0, 1]
        >>> knn_accuracy(train, labels, np.float32([[2, 1], [1, 2], [3, 1]]), [0, 1, 1])
        0.6666...

    Source: lightly's and solo-learn's protocol; see `functional.neighbors.knn_vote`.
    """
    train, test = np.asarray(train), np.asarray(test)
    train_labels, test_labels = np.asarray(train_labels), np.asarray(test_labels)
    check_labelled(train, train_labels, "train")
    check_labelled(test, test_labels, "test")
    if train.shape[1] != test.shape[1]:
        raise ValueError(f"train has {train.shape[1]} features, test has {test.shape[1]}.")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}.")
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}.")
    names, numbers = np.unique(train_labels, return_inverse=True)
    votes = knn_vote(train, numbers, test, classes=len(names), k=k, temperature=temperature)
    return float(np.mean(names[votes.numpy()] == test_labels))


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


def check_labelled(representations, labels, name):
    """Refuses representations that are not finite [count, features] with one label each."""
    if representations.ndim != 2 or not len(representations):
        raise ValueError(f"{name} must be [count, features], got shape {representations.shape}.")
    if labels.shape != representations.shape[:1]:
        raise ValueError(
            f"{name}: {len(representations)} representations, labels of shape {labels.shape}."
        )
    if not np.isfinite(representations).all():
        raise ValueError(f"{name} holds NaN or infinite representations.")
