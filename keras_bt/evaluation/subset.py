"""Selects labelled images: a fraction of each class, or evenly spaced ones."""

import numpy as np
from numpy.typing import ArrayLike


def labelled_subset(labels: ArrayLike, fraction: float, seed: int) -> np.ndarray:
    """Chooses at random the same fraction of the images of each class.

    Subsets with the same seed are nested: the 1 % subset is part of the 10 % subset.

    Args:
        labels: Int array [count].
        fraction: In (0, 1]. Rounded to whole images in each class, at least one.
        seed: Of the random choice.

    Returns:
        Int array [chosen], ascending indices into `labels`.

    Raises:
        ValueError: If `fraction` is out of range.

    Example:
        >>> labels = np.repeat([0, 1], [40, 2])
        >>> np.bincount(labels[labelled_subset(labels, 0.1, seed=0)])
        array([4, 1])
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1], got {fraction}.")
    chosen = [
        indices[: max(1, round(fraction * len(indices)))]
        for indices in shuffled_classes(labels, np.random.default_rng(seed))
    ]
    return np.sort(np.concatenate(chosen))


def shuffled_classes(labels: ArrayLike, random: np.random.Generator) -> list[np.ndarray]:
    """Returns the indices of the images of each class, in random order.

    Args:
        labels: Int array [count].
        random: Source of the order.

    Returns:
        One int array for each class, indices into `labels`.

    Example:
        >>> [len(indices) for indices in shuffled_classes([7, 7, 5], np.random.default_rng(0))]
        [1, 2]
    """
    labels = np.asarray(labels)
    return [random.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]


def evenly_spaced_subset(labels: ArrayLike, count: int) -> np.ndarray:
    """Chooses about `count` images, evenly spaced in each class.

    Args:
        labels: Int array [images].
        count: At least 1. A rare class keeps at least two images, so there may be a few more.

    Returns:
        Int array [chosen], ascending indices into `labels`.

    Example:
        >>> evenly_spaced_subset([5, 5, 5, 5, 7, 7], count=3)
        array([0, 2, 4, 5])
    """
    labels = np.asarray(labels)
    step = -(-len(labels) // count)
    classes = (np.flatnonzero(labels == label) for label in np.unique(labels))
    chosen = [indices[:: min(step, max(1, len(indices) // 2))] for indices in classes]
    return np.sort(np.concatenate(chosen))
