"""Accuracy of a k-nearest-neighbor vote over features."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from keras_bt.functional.neighbors import knn_votes

MOST_NEIGHBORS, NEIGHBORS_SHARE = 200, 5  # 200, or one in five of the training images
SWEEP_KS = (1, 2, 5, 10, 20, 50, 100, 200)
SWEEP_TEMPERATURES = (0.01, 0.02, 0.05, 0.07, 0.1, 0.2, 0.5, 1.0)


def knn_accuracy(
    train: ArrayLike,
    train_labels: ArrayLike,
    test: ArrayLike,
    test_labels: ArrayLike,
    *,
    k: int | None = None,
    temperature: float = 0.1,
) -> float:
    """Returns the fraction of test images whose nearest training images vote for their label.

        vote of a neighbor = exp(cosine / temperature)

    Args:
        train: Float array [train_count, features].
        train_labels: Int array [train_count].
        test: Float array [test_count, features].
        test_labels: Int array [test_count].
        k: Number of neighbors by cosine, at least 1. Reduced to `train_count`. None for 200, or
            a fifth of fewer than 1,000 images: 200 of 250 would be no neighbors.
        temperature: Above 0.

    Returns:
        Accuracy in [0, 1].

    Raises:
        ValueError: If shapes differ, a feature is not finite, or an argument is out of range.

    Example:
        >>> train, labels = np.float32([[1, 0], [0, 1]]), [0, 1]
        >>> knn_accuracy(train, labels, np.float32([[2, 1], [1, 2], [3, 1]]), [0, 1, 1])
        0.6666...

    Source: the protocol of lightly and solo-learn; see `functional.neighbors.knn_vote`.
    """
    train, train_labels = as_labelled_features(train, train_labels, "train")
    test, test_labels = as_labelled_features(test, test_labels, "test")
    predicted = knn_predictions(train, train_labels, test, k=k, temperature=temperature)
    return float(np.mean(predicted == test_labels))


def knn_predictions(
    train: ArrayLike,
    train_labels: ArrayLike,
    test: ArrayLike,
    *,
    k: int | None = None,
    temperature: float = 0.1,
) -> np.ndarray:
    """Returns the labels for which the nearest training images vote.

    Args:
        train: See `knn_accuracy`.
        train_labels: See `knn_accuracy`.
        test: See `knn_accuracy`.
        k: See `knn_accuracy`.
        temperature: See `knn_accuracy`.

    Returns:
        Array [test_count].

    Raises:
        ValueError: As `knn_accuracy`.

    Example:
        >>> train, labels = np.float32([[1, 0], [0, 1]]), [5, 7]
        >>> knn_predictions(train, labels, np.float32([[2, 1], [1, 2]]))
        array([5, 7])
    """
    if k is None:
        k = min(MOST_NEIGHBORS, max(1, len(np.asarray(train_labels)) // NEIGHBORS_SHARE))
    return _predictions(train, train_labels, test, [k], [temperature])[0, 0]


def knn_sweep(
    train: ArrayLike,
    train_labels: ArrayLike,
    test: ArrayLike,
    test_labels: ArrayLike,
    *,
    ks: Sequence[int] = SWEEP_KS,
    temperatures: Sequence[float] = SWEEP_TEMPERATURES,
) -> dict[tuple[int, float], float]:
    """`knn_accuracy` for each k and temperature, in about the time of one call.

    Do not report the best accuracy of a sweep: it is chosen on the test images and is too
    high. Report a pair (k, temperature) that was fixed beforehand.

    Args:
        train: See `knn_accuracy`.
        train_labels: See `knn_accuracy`.
        test: See `knn_accuracy`.
        test_labels: See `knn_accuracy`.
        ks: At least 1 each. Reduced to `train_count`.
        temperatures: Above 0 each.

    Returns:
        {(k, temperature): accuracy in [0, 1]}, by ascending k.

    Raises:
        ValueError: As `knn_accuracy`.

    Example:
        >>> train, labels = np.float32([[1, 0], [0, 1], [0, 2]]), [0, 1, 1]
        >>> test = np.float32([[1, 0.9]])
        >>> knn_sweep(train, labels, test, [0], ks=(1, 3), temperatures=(0.01, 1.0))
        {(1, 0.01): 1.0, (1, 1.0): 1.0, (3, 0.01): 1.0, (3, 1.0): 0.0}

    Source: vturrisi/solo-learn scripts/knn/imagenet-100/knn.sh@9187ea3, its cosine half.
    """
    train, train_labels = as_labelled_features(train, train_labels, "train")
    test, test_labels = as_labelled_features(test, test_labels, "test")
    ks = sorted(ks)
    predicted = _predictions(train, train_labels, test, ks, temperatures)
    accuracies = np.mean(predicted == test_labels, axis=-1).tolist()
    return {
        (k, temperature): accuracy
        for k, row in zip(ks, accuracies, strict=True)
        for temperature, accuracy in zip(temperatures, row, strict=True)
    }


def _predictions(
    train: ArrayLike,
    train_labels: ArrayLike,
    test: ArrayLike,
    ks: Sequence[int],
    temperatures: Sequence[float],
) -> np.ndarray:
    """Predicted labels [ks, temperatures, test_count]; `ks` ascend."""
    train, train_labels = as_labelled_features(train, train_labels, "train")
    test, _ = as_labelled_features(test, np.zeros(len(np.asarray(test))), "test")
    if train.shape[1] != test.shape[1]:
        raise ValueError(
            f"train and test must have the same number of features, got {train.shape[1]} and "
            f"{test.shape[1]}."
        )
    if min(ks) < 1:
        raise ValueError(f"k must be at least 1, got {min(ks)}.")
    if min(temperatures) <= 0:
        raise ValueError(f"temperature must be above 0, got {min(temperatures)}.")
    classes, train_classes = np.unique(train_labels, return_inverse=True)
    votes = knn_votes(
        train, train_classes, test, classes=len(classes), ks=ks, temperatures=list(temperatures)
    )
    return classes[votes.numpy()]


def as_labelled_features(
    features: ArrayLike, labels: ArrayLike, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Converts features and labels to arrays, and checks them.

    Args:
        features: Float array [count, features], finite.
        labels: Int array [count].
        name: Name of the argument, for messages.

    Returns:
        Both arrays.

    Raises:
        ValueError: If a shape is wrong or a feature is not finite.

    Example:
        >>> as_labelled_features([[0.5, 1.0]], [3, 4], "train")
        Traceback (most recent call last):
            ...
        ValueError: The labels of train must have the shape (1,), got (2,).
    """
    features, labels = np.asarray(features), np.asarray(labels)
    if features.ndim != 2 or not len(features):
        raise ValueError(
            f"{name} must be [count, features] with count at least 1, got shape {features.shape}."
        )
    if labels.shape != features.shape[:1]:
        raise ValueError(
            f"The labels of {name} must have the shape ({len(features)},), got {labels.shape}."
        )
    if not np.isfinite(features).all():
        raise ValueError(f"{name} has NaN or infinite features.")
    return features, labels
