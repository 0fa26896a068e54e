"""Which monitors run during training, on which images and how often."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import tensorflow as tf

from keras_bt.evaluation.health import EmbeddingHealth
from keras_bt.evaluation.knn import knn_accuracy
from keras_bt.evaluation.linear import linear_probe
from keras_bt.evaluation.monitors import EncoderMonitor, Monitor

if TYPE_CHECKING:
    from keras_bt.data import Images, Source

BATCH_SIZE = 256
MONITOR_IMAGES = 5_000, 1_000  # most training and held-out images for accuracies
LEAST_IMAGES = 500, 250  # of short trainings
HEALTH_IMAGES = 512
HEALTH_PASSES = 3  # forward passes of an image: the image itself and two views
STEP_PASSES = 6  # two views forward; their backward passes take twice as long
MONITOR_RUNS = 20, 10  # at most, and in short trainings: problems must show in the first fifth
MONITOR_TIME_SHARE = 0.02  # of the training time


class MonitorSchedule(NamedTuple):
    """How often monitors run, and on how many images.

    Args:
        every_epochs: Epochs between two runs of the monitors.
        train_images: Most labelled training images for accuracies.
        test_images: Most held-out images.
    """

    every_epochs: int
    train_images: int
    test_images: int


def schedule_monitors(source: Source, epochs: int, passes: int) -> MonitorSchedule:
    """Returns how often monitors run, so that they take about 2 % of the time.

    Monitors run 20 times in a training, or 10 times in a short one, there on fewer images.

    Args:
        source: Images of the training.
        epochs: Of the training.
        passes: Number of images that the whole training takes, counted once an epoch.

    Example:
        >>> from keras_bt.data import digits
        >>> schedule_monitors(digits(), epochs=200, passes=200 * 1437)
        MonitorSchedule(every_epochs=20, train_images=5000, test_images=1000)
    """
    wanted = 0
    labelled, test = source.for_evaluation()
    if test is not None:
        wanted = min(labelled.count, MONITOR_IMAGES[0]) + min(test.count, MONITOR_IMAGES[1])
    health = HEALTH_PASSES * min(source.train.count, HEALTH_IMAGES)
    for runs in MONITOR_RUNS:
        affordable = MONITOR_TIME_SHARE * STEP_PASSES * passes / runs - health
        if affordable >= wanted:
            return MonitorSchedule(max(1, epochs // runs), *MONITOR_IMAGES)
    share = affordable / wanted if wanted else 1.0
    train, held_out = (
        max(least, min(most, int(share * most)))
        for most, least in zip(MONITOR_IMAGES, LEAST_IMAGES, strict=True)
    )
    return MonitorSchedule(max(1, epochs // runs), train, held_out)


def default_monitors(
    source: Source,
    image_size: int,
    batch_size: int,
    epochs: int,
    linear: bool = False,
    passes: int | None = None,
) -> list[Monitor]:
    """Creates the callbacks that monitor a training, on evenly spaced images.

    Args:
        source: Images of the training.
        image_size: Side of the images that the encoder takes, in pixels.
        batch_size: Of the training, over all replicas.
        epochs: Of the training.
        linear: Adds a linear probe to the k-NN accuracy. It takes seconds on many images.
        passes: See `schedule_monitors`; None if an epoch takes each image once.

    Returns:
        A callback for accuracies if there are labels, followed by `EmbeddingHealth`.

    Example:
        >>> from keras_bt.data import Source, from_arrays
        >>> import numpy as np
        >>> unlabelled = Source("mine", from_arrays(np.zeros([4, 8, 8, 3], "uint8")))
        >>> health, = default_monitors(unlabelled, image_size=8, batch_size=4, epochs=100)
        >>> health.every_epochs
        10
    """
    passes = epochs * source.train.count if passes is None else passes
    every_epochs, train_images, test_images = schedule_monitors(source, epochs, passes)

    def batches(images: Images, limit: int) -> tf.data.Dataset:
        return images.at_most(limit).batches(BATCH_SIZE, image_size)

    health = EmbeddingHealth(batches(source.train, HEALTH_IMAGES), batch_size, every_epochs)
    labelled, test = source.for_evaluation()
    if test is None:
        return [health]
    accuracies: dict[str, Callable[..., float]] = {"knn_accuracy": knn_accuracy}
    if linear:
        accuracies["linear_accuracy"] = linear_probe
    data = batches(labelled, train_images), batches(test, test_images)
    return [EncoderMonitor(*data, every_epochs, accuracies), health]
