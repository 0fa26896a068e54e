"""k-nearest-neighbour accuracy: the quickest honest look at representations."""

import numpy as np

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
