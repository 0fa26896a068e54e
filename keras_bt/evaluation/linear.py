"""Linear probes: accuracy of logistic regression on frozen features."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_bt.evaluation.knn import as_labelled_features
from keras_bt.evaluation.subset import evenly_spaced_subset, shuffled_classes

INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # from strong to weak
FOLDS = 5
SINGLE_SPLIT_FROM_IMAGES = 2000  # from here on one held-out fifth is precise enough
# With so few images the rotation takes less time than it saves. With 3,068 images and 3,072 values
# in each it takes three times as long as everything else.
ROTATED_FROM_FEATURES_PER_IMAGE = 4
# OpenBLAS threads wait in a busy loop. Where other processes use the cores too, two threads take
# thirty times as long as one for small products.
THREADS_FROM_VALUES = 2**25


def linear_probe(
    train: ArrayLike, train_labels: ArrayLike, test: ArrayLike, test_labels: ArrayLike
) -> float:
    """Returns the test accuracy of logistic regression on features; see `fit_linear_probe`.

    Args:
        train: Float array [train_count, features].
        train_labels: Int array [train_count].
        test: Float array [test_count, features].
        test_labels: Int array [test_count].

    Returns:
        Accuracy in [0, 1].

    Raises:
        ValueError: If shapes differ, a feature is not finite, or there is only one class.

    Example:
        >>> train, labels = np.float32([[0, 0], [1, 9], [9, 1], [8, 8]]), [0, 0, 1, 1]
        >>> linear_probe(train, labels, np.float32([[1, 1], [9, 9]]), [0, 1])
        1.0
    """
    train, train_labels = as_labelled_features(train, train_labels, "train")
    # Before the fit, which may be slow.
    test, test_labels = as_labelled_features(test, test_labels, "test")
    return float(fit_linear_probe(train, train_labels).score(test, test_labels))


def fit_linear_probe(
    train: ArrayLike, train_labels: ArrayLike, max_images: int | None = None
) -> Any:
    """Fits the classifier of `linear_probe`.

    Features are standardized. Cross-validation on the training images chooses the L2 penalty,
    from strong to weak, until a weaker one is less accurate. From 2,000 images on it uses a
    single held-out fifth. The classifier is then fitted to all training images.

    Args:
        train: Float array [train_count, features].
        train_labels: Int array [train_count].
        max_images: Fits to about this number of the images, evenly spaced in each class. None
            uses all images.

    Returns:
        A fitted scikit-learn classifier.

    Raises:
        ValueError: As `linear_probe`.

    Example:
        >>> train, labels = np.float32([[0, 0], [1, 9], [9, 1], [8, 8]]), [0, 0, 1, 1]
        >>> fit_linear_probe(train, labels).predict(np.float32([[9, 9]]))
        array([1])
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from threadpoolctl import threadpool_limits

    features, labels = as_labelled_features(train, train_labels, "train")
    if max_images is not None:
        chosen = evenly_spaced_subset(labels, max_images)
        features, labels = features[chosen], labels[chosen]
    images_per_class = np.unique(labels, return_counts=True)[1]
    if len(images_per_class) < 2 or images_per_class.max() < 2:
        raise ValueError(
            "A linear probe needs at least 2 classes, one of them with at least 2 training images; "
            f"got {len(images_per_class)} classes with at most {images_per_class.max()} images."
        )
    folds = StratifiedKFold(min(FOLDS, images_per_class.max()), shuffle=True, random_state=0)
    threads = 1 if features.size < THREADS_FROM_VALUES else None
    rotated = ROTATED_FROM_FEATURES_PER_IMAGE * len(features) < features.shape[1]
    with warnings.catch_warnings(), threadpool_limits(threads):
        # Harmless: a fit that stops at max_iter is a valid classifier, small classes are absent
        # from some folds, and PCA of constant features divides 0 by 0 for an unused attribute.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        warnings.filterwarnings("ignore", "invalid value encountered in divide", RuntimeWarning)
        splits = list(folds.split(features, labels))
        splits = splits if len(features) < SINGLE_SPLIT_FROM_IMAGES else splits[:1]
        best_accuracy = -1.0
        for inverse_penalty in INVERSE_PENALTIES:
            candidate = _classifier(inverse_penalty, rotated)
            accuracy = cross_val_score(candidate, features, labels, cv=splits).mean()
            if accuracy < best_accuracy:
                break
            classifier, best_accuracy = candidate, accuracy
        return classifier.fit(features, labels)


def _classifier(inverse_penalty: float, rotated: bool) -> Any:
    """Logistic regression on standardized features, not fitted."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # The solution lies in the span of the images. PCA rotates into that span: the same solution.
    rotation = [PCA()] if rotated else []
    return make_pipeline(
        StandardScaler(), *rotation, LogisticRegression(C=inverse_penalty, max_iter=300, tol=1e-3)
    )


def few_label_accuracy(
    train: ArrayLike,
    train_labels: ArrayLike,
    test: ArrayLike,
    test_labels: ArrayLike,
    *,
    labels_per_class: int = 10,
    draws: int = 5,
    seed: int = 0,
) -> float:
    """Returns the mean test accuracy of linear probes on a few labels of each class.

    Args:
        train: Float array [train_count, features].
        train_labels: Int array [train_count].
        test: Float array [test_count, features].
        test_labels: Int array [test_count].
        labels_per_class: At least 2. A class with fewer images uses all of them.
        draws: Number of random choices of labelled images to average over, at least 1.
        seed: Of the choices: encoders with the same seed are compared on the same images.

    Returns:
        Accuracy in [0, 1].

    Raises:
        ValueError: As `linear_probe`, or if `labels_per_class` or `draws` is too small.

    Example:
        >>> train, labels = np.float32([[0, 1], [1, 0], [9, 8], [8, 9]]), [0, 0, 1, 1]
        >>> few_label_accuracy(train, labels, np.float32([[1, 1], [9, 9]]), [0, 1], draws=2)
        1.0
    """
    if labels_per_class < 2 or draws < 1:
        raise ValueError(
            "labels_per_class must be at least 2 and draws at least 1, got "
            f"{labels_per_class} and {draws}."
        )
    train, train_labels = as_labelled_features(train, train_labels, "train")
    random, accuracies = np.random.default_rng(seed), []
    for _ in range(draws):
        classes = shuffled_classes(train_labels, random)
        chosen = np.concatenate([indices[:labels_per_class] for indices in classes])
        accuracies.append(linear_probe(train[chosen], train_labels[chosen], test, test_labels))
    return float(np.mean(accuracies))
