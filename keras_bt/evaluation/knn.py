"""k-nearest-neighbour accuracy: the quickest honest look at representations."""

import numpy as np

from keras_bt.functional.neighbors import knn_votes

SWEEP_KS = (1, 2, 5, 10, 20, 50, 100, 200)
SWEEP_TEMPERATURES = (0.01, 0.02, 0.05, 0.07, 0.1, 0.2, 0.5, 1.0)


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
    accuracies = knn_sweep(
        train, train_labels, test, test_labels, ks=[k], temperatures=[temperature]
    )
    return accuracies[k, temperature]


def knn_sweep(
    train, train_labels, test, test_labels, *, ks=SWEEP_KS, temperatures=SWEEP_TEMPERATURES
):
    """`knn_accuracy` for each k and temperature, in about the time of one.

    The best of a sweep is chosen on the test images and flatters the encoder. The figure to
    report is that of a pair (k, temperature) fixed beforehand.

    Args:
        train: See `knn_accuracy`.
        train_labels: See `knn_accuracy`.
        test: See `knn_accuracy`.
        test_labels: See `knn_accuracy`.
        ks: Ints, at least 1. Each is cut to `train_count`.
        temperatures: Floats, above 0.

    Returns:
        {(k, temperature): Python float in [0, 1]}, by ascending k.

    Raises:
        ValueError: As `knn_accuracy`.

    Example:
        >>> train, labels = np.float32([[1, 0], [0, 1], [0, 2]]), [0, 1, 1]
        >>> test = np.float32([[1, 0.9]])
        >>> knn_sweep(train, labels, test, [0], ks=(1, 3), temperatures=(0.01, 1.0))
        {(1, 0.01): 1.0, (1, 1.0): 1.0, (3, 0.01): 1.0, (3, 1.0): 0.0}

    Source: vturrisi/solo-learn scripts/knn/imagenet-100/knn.sh@9187ea3, its cosine half.
    """
    train, test = np.asarray(train), np.asarray(test)
    train_labels, test_labels = np.asarray(train_labels), np.asarray(test_labels)
    check_labelled(train, train_labels, "train")
    check_labelled(test, test_labels, "test")
    if train.shape[1] != test.shape[1]:
        raise ValueError(f"train has {train.shape[1]} features, test has {test.shape[1]}.")
    if min(ks) < 1:
        raise ValueError(f"k must be at least 1, got {min(ks)}.")
    if min(temperatures) <= 0:
        raise ValueError(f"temperature must be above 0, got {min(temperatures)}.")
    ks = sorted(ks)
    names, numbers = np.unique(train_labels, return_inverse=True)
    votes = knn_votes(
        train, numbers, test, classes=len(names), ks=ks, temperatures=list(temperatures)
    )
    accuracies = np.mean(names[votes.numpy()] == test_labels, axis=-1).tolist()
    return {
        (k, temperature): accuracy
        for k, of_k in zip(ks, accuracies, strict=True)
        for temperature, accuracy in zip(temperatures, of_k, strict=True)
    }


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
