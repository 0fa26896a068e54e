"""What looks at a run while it trains, at which images and how often."""

import math
from collections.abc import Callable

from keras_bt.evaluation.health import EmbeddingHealth
from keras_bt.evaluation.knn import knn_accuracy
from keras_bt.evaluation.linear import linear_probe
from keras_bt.evaluation.monitors import EncoderMonitor

BATCH_SIZE = 256
ACCURACY_IMAGES = 5_000, 1_000  # training and held-out, at the most
HEALTH_IMAGES = 512
HEALTH_PASSES = 3  # of the image and of two views
STEP_PASSES = 6  # two views forward, and backward for twice as long
LOOKS = 20
SHARE = 0.02  # of the time of training


def epochs_between_looks(source, epochs):
    """How often to look: 20 times in a run, or less so that it takes 2 % of the time.

    Args:
        source: `data.Source`.
        epochs: Int. Of the run.

    Returns:
        Int, at least 1.

    Example:
        >>> from keras_bt.data import digits
        >>> epochs_between_looks(digits(), epochs=200)
        20
    """
    count = source.train.count
    passes = HEALTH_PASSES * min(count, HEALTH_IMAGES)
    if source.test is not None:
        for images, limit in zip(source.for_evaluation(), ACCURACY_IMAGES, strict=True):
            passes += min(images.count, limit)
    return max(math.ceil(epochs / LOOKS), math.ceil(passes / (SHARE * STEP_PASSES * count)))


def default_monitors(source, image_size, batch_size, epochs, linear=False):
    """The callbacks that look at a run while it trains, at evenly spaced images.

    Args:
        source: `data.Source`.
        image_size: Int. Side of the images the encoder gets, in pixels.
        batch_size: Int. Of the training, over all replicas.
        epochs: Int. Of the run.
        linear: Bool. Whether they fit a linear probe besides the k-NN vote, which takes
            seconds where images are many.

    Returns:
        List of Keras callbacks: one for accuracies, where there are labels, and last
        `EmbeddingHealth`.

    Example:
        >>> from keras_bt.data import Source, from_arrays
        >>> import numpy as np
        >>> unlabelled = Source("mine", from_arrays(np.zeros([4, 8, 8, 3], "uint8")))
        >>> health, = default_monitors(unlabelled, image_size=8, batch_size=4, epochs=100)
        >>> health.every_epochs
        25
    """
    every_epochs = epochs_between_looks(source, epochs)

    def batches(images, limit):
        return images.at_most(limit).batches(BATCH_SIZE, image_size)

    health = EmbeddingHealth(batches(source.train, HEALTH_IMAGES), batch_size, every_epochs)
    if source.test is None:
        return [health]
    accuracies: dict[str, Callable] = {"knn_accuracy": knn_accuracy}
    if linear:
        accuracies["linear_accuracy"] = linear_probe
    train, test = map(batches, source.for_evaluation(), ACCURACY_IMAGES)
    return [EncoderMonitor(train, test, every_epochs, accuracies), health]
