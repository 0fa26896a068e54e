"""Which images keep their labels, where only few are to be used."""

import numpy as np


def labelled_subset(labels, fraction, seed):
    """A random part of the images that has the same fraction of each class.

    Subsets of one seed are nested: those of 1 % are among those of 10 %.

    Args:
        labels: Int array [count].
        fraction: Float in (0, 1]. Of each class, rounded to whole images, one at least.
        seed: Int.

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
        of_class[: max(1, round(fraction * len(of_class)))]
        for of_class in shuffled_classes(labels, np.random.default_rng(seed))
    ]
    return np.sort(np.concatenate(chosen))


def shuffled_classes(labels, random):
    """The images of each class, in random order.

    Args:
        labels: Int array [count].
        random: `np.random.Generator`.

    Returns:
        List of an int array a class, indices into `labels`.

    Example:
        >>> [len(of) for of in shuffled_classes([7, 7, 5], np.random.default_rng(0))]
        [1, 2]
    """
    labels = np.asarray(labels)
    return [random.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
