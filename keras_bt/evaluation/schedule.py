"""Which monitors run during training, on which images and how often."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import tensorflow as tf

from keras_bt.evaluation.health import EmbeddingHealth
from keras_bt.evaluation.knn import knn_accuracy
from keras_bt.evaluation.linear import linear_probe
from keras_bt.evaluation.monitors import EncoderMonitor, Monitor

if TYPE_CHECKING:
    from keras_bt.data import Images, Source

BATCH_SIZE = 256
MONITOR_IMAGES = 5_000, 1_000  # most training and held-out images for accuracies
HEALTH_IMAGES = 512
HEALTH_PASSES = 3  # forward passes of an image: the image itself and two views
STEP_PASSES = 6  # two views forward; their backward passes take twice as long
MONITOR_RUNS = 20  # most in a training
MONITOR_TIME_SHARE = 0.02  # of the training time, at most


def monitor_every_epochs(source: Source, epochs: int) -> int:
    """Returns the number of epochs between two runs of the monitors.

    Monitors run 20 times in a training, or less often if they would take more than 2 % of the
    time.

    Args:
        source: Images of the training.
        epochs: Of the training.

    Returns:
        At least 1.

    Example:
        >>> from keras_bt.data import digits
        >>> monitor_every_epochs(digits(), epochs=200)
        20
    """
    count = source.train.count
    passes = HEALTH_PASSES * min(count, HEALTH_IMAGES)
    labelled, test = source.for_evaluation()
    if test is not None:
        passes += min(labelled.count, MONITOR_IMAGES[0]) + min(test.count, MONITOR_IMAGES[1])
    return max(
        math.ceil(epochs / MONITOR_RUNS),
        math.ceil(passes / (MONITOR_TIME_SHARE * STEP_PASSES * count)),
    )


def default_monitors(
    source: Source, image_size: int, batch_size: int, epochs: int, linear: bool = False
) -> list[Monitor]:
    """Creates the callbacks that monitor a training, on evenly spaced images.

    Args:
        source: Images of the training.
        image_size: Side of the images that the encoder takes, in pixels.
        batch_size: Of the training, over all replicas.
        epochs: Of the training.
        linear: Adds a linear probe to the k-NN accuracy. It takes seconds on many images.

    Returns:
        A callback for accuracies if there are labels, followed by `EmbeddingHealth`.

    Example:
        >>> from keras_bt.data import Source, from_arrays
        >>> import numpy as np
        >>> unlabelled = Source("mine", from_arrays(np.zeros([4, 8, 8, 3], "uint8")))
        >>> health, = default_monitors(unlabelled, image_size=8, batch_size=4, epochs=100)
        >>> health.every_epochs
        25
    """
    every_epochs = monitor_every_epochs(source, epochs)

    def batches(images: Images, limit: int) -> tf.data.Dataset:
        return images.at_most(limit).batches(BATCH_SIZE, image_size)

    health = EmbeddingHealth(batches(source.train, HEALTH_IMAGES), batch_size, every_epochs)
    labelled, test = source.for_evaluation()
    if test is None:
        return [health]
    accuracies: dict[str, Callable[..., float]] = {"knn_accuracy": knn_accuracy}
    if linear:
        accuracies["linear_accuracy"] = linear_probe
    data = batches(labelled, MONITOR_IMAGES[0]), batches(test, MONITOR_IMAGES[1])
    return [EncoderMonitor(*data, every_epochs, accuracies), health]
