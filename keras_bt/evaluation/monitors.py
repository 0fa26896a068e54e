"""Callbacks that look at the encoder while `fit` trains it."""

import functools

import keras
import numpy as np

from keras_bt.evaluation.features import compile_encoder, extract_compiled
from keras_bt.evaluation.knn import knn_accuracy
from keras_bt.evaluation.linear import linear_probe


class Monitor(keras.callbacks.Callback):
    """Adds figures to the logs of some epochs, and so to the history and to later callbacks.

    To be derived from, with a `look` of its own.

    Args:
        every_epochs: Int. Looks after each so many epochs, and after the last.

    Raises:
        FloatingPointError: At the end of an epoch, if what it looks at is NaN or infinite.

    Example:
        >>> Monitor(every_epochs=5).every_epochs
        5
    """

    def __init__(self, every_epochs=1):
        super().__init__()
        if every_epochs < 1:
            raise ValueError(f"every_epochs must be at least 1, got {every_epochs}.")
        self.every_epochs = every_epochs

    def look(self, epoch, logs):
        """What to add to the logs of an epoch, counted from 0: a dict of floats."""
        raise NotImplementedError

    def on_epoch_end(self, epoch, logs=None):
        last = epoch + 1 == self.params["epochs"]
        if logs is None or ((epoch + 1) % self.every_epochs and not last):
            return
        logs.update(self.look(epoch, logs))


class EncoderMonitor(Monitor):
    """Logs accuracies of the model's frozen representations, embedded once for all of them.

    Args:
        train: `tf.data.Dataset` of labelled batches.
        test: `tf.data.Dataset` of labelled batches, held out.
        every_epochs: See `Monitor`.
        accuracies: Dict from a name in the logs to a function (train, train_labels, test,
            test_labels) of representations and labels.

    Example:
        >>> import tensorflow as tf
        >>> data = tf.data.Dataset.from_tensors((tf.zeros([2, 4, 4, 3], tf.uint8), [0, 1]))
        >>> both = {"knn_accuracy": knn_accuracy, "linear_accuracy": linear_probe}
        >>> sorted(EncoderMonitor(data, data, 1, both).accuracies)
        ['knn_accuracy', 'linear_accuracy']
    """

    def __init__(self, train, test, every_epochs, accuracies):
        super().__init__(every_epochs)
        self.train = train
        self.test = test
        self.accuracies = accuracies

    def on_train_begin(self, logs=None):
        self._encode = compile_encoder(self.model)

    def look(self, epoch, logs):
        train, train_labels = extract_compiled(self._encode, self.train)
        test, test_labels = extract_compiled(self._encode, self.test)
        check_finite("representations", epoch, train, test)
        return {
            name: accuracy(train, train_labels, test, test_labels)
            for name, accuracy in self.accuracies.items()
        }


class KNNMonitor(EncoderMonitor):
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
        accuracy = functools.partial(knn_accuracy, k=k, temperature=temperature)
        super().__init__(train, test, every_epochs, {"knn_accuracy": accuracy})


class LinearProbeMonitor(EncoderMonitor):
    """Logs the accuracy of `linear_probe` on the model's representations during `fit`.

    Adds `linear_accuracy` to the logs, as `KNNMonitor` does its figure. The classifier is
    fitted anew to frozen representations at each look, so that a training that was resumed
    has the same figures. What others call online accuracy is another figure: that of a
    classifier which is trained along with the encoder, on augmented images.

    Args:
        train: `tf.data.Dataset` of labelled batches, which the classifier is fitted to.
        test: `tf.data.Dataset` of labelled batches, held out.
        every_epochs: Int. Looks after each so many epochs, and after the last.

    Raises:
        FloatingPointError: At the end of an epoch, if the representations are NaN or infinite.
        ValueError: There, if labels are too few; see `linear_probe`.

    Example:
        >>> import tensorflow as tf
        >>> data = tf.data.Dataset.from_tensors((tf.zeros([2, 4, 4, 3], tf.uint8), [0, 1]))
        >>> LinearProbeMonitor(data, data, every_epochs=5).every_epochs
        5
    """

    def __init__(self, train, test, every_epochs=1):
        super().__init__(train, test, every_epochs, {"linear_accuracy": linear_probe})


def check_finite(name, epoch, *arrays):
    """Ends a training whose representations or embeddings are NaN or infinite.

    Args:
        name: What they are.
        epoch: Int, counted from 0.
        *arrays: Float arrays.

    Example:
        >>> check_finite("embeddings", 0, np.float32([np.nan]))
        Traceback (most recent call last):
            ...
        FloatingPointError: The embeddings after epoch 1 are not finite; a lower learning ...
    """
    if not all(np.isfinite(array).all() for array in arrays):
        raise FloatingPointError(
            f"The {name} after epoch {epoch + 1} are not finite; a lower learning rate may help."
        )
