"""Callbacks that add metrics of the encoder to the logs of `fit`."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bt.evaluation.features import (
    Encoder,
    compile_encoder,
    extract_compiled,
    extract_features,
)
from keras_bt.evaluation.knn import knn_accuracy
from keras_bt.evaluation.linear import linear_probe


class Monitor(keras.callbacks.Callback):
    """Adds metrics to the logs of some epochs. Subclasses implement `compute_metrics`.

    The history and later callbacks contain these metrics too.

    Args:
        every_epochs: At least 1. Computes the metrics every `every_epochs` epochs and after the
            last epoch.

    Raises:
        ValueError: If `every_epochs` is below 1.

    Example:
        >>> class Constant(Monitor):
        ...     def compute_metrics(self, epoch, logs):
        ...         return {"constant": 0.5}
        >>> monitor, logs = Constant(every_epochs=2), {}
        >>> monitor.set_params({"epochs": 2})
        >>> monitor.on_epoch_end(0, logs)
        >>> logs
        {}
        >>> monitor.on_epoch_end(1, logs)
        >>> logs
        {'constant': 0.5}
    """

    def __init__(self, every_epochs: int = 1) -> None:
        super().__init__()
        if every_epochs < 1:
            raise ValueError(f"every_epochs must be at least 1, got {every_epochs}.")
        self.every_epochs = every_epochs

    def compute_metrics(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        """Returns the metrics to add to the logs of an epoch, counted from 0."""
        raise NotImplementedError

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        last = epoch + 1 == self.params["epochs"]
        if logs is None or ((epoch + 1) % self.every_epochs and not last):
            return
        logs.update(self.compute_metrics(epoch, logs))


class EncoderMonitor(Monitor):
    """Logs several accuracies of the frozen encoder, which extracts the features only once.

    Args:
        train: Batches of labelled images.
        test: Batches of labelled held-out images.
        every_epochs: See `Monitor`.
        accuracies: Name in the logs to function of (train, train_labels, test, test_labels).

    Raises:
        FloatingPointError: At the end of an epoch, if features are NaN or infinite.

    Example:
        >>> data = tf.data.Dataset.from_tensors((tf.zeros([2, 4, 4, 3], tf.uint8), [0, 1]))
        >>> monitor = EncoderMonitor(data, data, 1, {"first": knn_accuracy, "second": knn_accuracy})
        >>> monitor.set_model(keras.Sequential([keras.layers.Flatten()]))
        >>> monitor.on_train_begin()
        >>> monitor.compute_metrics(0, {})
        {'first': 0.5, 'second': 0.5}
    """

    def __init__(
        self,
        train: tf.data.Dataset,
        test: tf.data.Dataset,
        every_epochs: int,
        accuracies: dict[str, Callable[..., float]],
    ) -> None:
        super().__init__(every_epochs)
        self.train = train
        self.test = test
        self.accuracies = accuracies

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._encode = compile_encoder(self.model)

    def compute_metrics(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        train, test = (extract_compiled(self._encode, data) for data in (self.train, self.test))
        check_finite("features", epoch, train[0], test[0])
        return {name: accuracy(*train, *test) for name, accuracy in self.accuracies.items()}

    def compute_baseline(self, encoder: Encoder) -> tuple[float, int]:
        """Returns the first of the accuracies of another encoder, and the number of its images.

        Args:
            encoder: See `extract_features`, such as the encoder before training.
        """
        train, test = (extract_features(encoder, data) for data in (self.train, self.test))
        accuracy = next(iter(self.accuracies.values()))
        return accuracy(*train, *test), len(test[0])


class KNNMonitor(EncoderMonitor):
    """Logs `knn_accuracy` of the encoder during `fit`.

    Args:
        train: Batches of labelled images: the neighbors.
        test: Batches of labelled held-out images.
        every_epochs: At least 1. Computes the accuracy every `every_epochs` epochs and after
            the last epoch.
        k: See `knn_accuracy`.
        temperature: See `knn_accuracy`.

    Raises:
        ValueError: If `every_epochs` is below 1.
        FloatingPointError: At the end of an epoch, if features are NaN or infinite.

    Example:
        >>> data = tf.data.Dataset.from_tensors((tf.zeros([2, 4, 4, 3], tf.uint8), [0, 1]))
        >>> monitor = KNNMonitor(data, data, every_epochs=5, k=1)
        >>> monitor.set_model(keras.Sequential([keras.layers.Flatten()]))
        >>> monitor.on_train_begin()
        >>> monitor.compute_metrics(4, {})
        {'knn_accuracy': 0.5}
    """

    def __init__(
        self,
        train: tf.data.Dataset,
        test: tf.data.Dataset,
        every_epochs: int = 1,
        k: int | None = None,
        temperature: float = 0.1,
    ) -> None:
        accuracy = functools.partial(knn_accuracy, k=k, temperature=temperature)
        super().__init__(train, test, every_epochs, {"knn_accuracy": accuracy})


class LinearProbeMonitor(EncoderMonitor):
    """Logs the accuracy of `linear_probe` on the encoder during `fit`, as `linear_accuracy`.

    It fits a new classifier to frozen features each time. A resumed training therefore logs
    the same accuracies. This is not the "online accuracy" of other libraries: that classifier
    is trained together with the encoder, on augmented images.

    Args:
        train: Batches of labelled images, for the fit of the classifier.
        test: Batches of labelled held-out images.
        every_epochs: At least 1. Computes the accuracy every `every_epochs` epochs and after
            the last epoch.

    Raises:
        ValueError: If `every_epochs` is below 1. At the end of an epoch, if there are too few
            labels; see `linear_probe`.
        FloatingPointError: At the end of an epoch, if features are NaN or infinite.

    Example:
        >>> pixels = tf.constant([0, 9, 190, 200], tf.uint8)[:, None, None, None]
        >>> data = tf.data.Dataset.from_tensors((pixels, [0, 0, 1, 1]))
        >>> monitor = LinearProbeMonitor(data, data)
        >>> monitor.set_model(keras.Sequential([keras.layers.Flatten()]))
        >>> monitor.on_train_begin()
        >>> monitor.compute_metrics(0, {})
        {'linear_accuracy': 1.0}
    """

    def __init__(
        self, train: tf.data.Dataset, test: tf.data.Dataset, every_epochs: int = 1
    ) -> None:
        super().__init__(train, test, every_epochs, {"linear_accuracy": linear_probe})


def check_finite(name: str, epoch: int, *arrays: np.ndarray) -> None:
    """Raises FloatingPointError if features or embeddings are NaN or infinite.

    Args:
        name: Name of the arrays, for the message.
        epoch: Counted from 0.
        *arrays: Float arrays.

    Example:
        >>> check_finite("embeddings", 0, np.float32([np.nan]))
        Traceback (most recent call last):
            ...
        FloatingPointError: The embeddings after epoch 1 are not finite. Try a lower learning rate.
    """
    if not all(np.isfinite(array).all() for array in arrays):
        raise FloatingPointError(
            f"The {name} after epoch {epoch + 1} are not finite. Try a lower learning rate."
        )
