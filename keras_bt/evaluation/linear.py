"""Linear probes: how much a linear classifier reads from frozen representations."""

import warnings

import numpy as np

from keras_bt.evaluation.knn import check_labelled
from keras_bt.evaluation.subset import shuffled_classes

INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # from strong to weak
FOLDS = 5
SINGLE_SPLIT_FROM = 2000  # with so many images one held-out fifth is precise enough
# OpenBLAS's threads wait for each other busily: where others use the cores as well, small
# products take thirty times as long in two threads as in one.
THREADS_FROM_VALUES = 2**25


def linear_probe(train, train_labels, test, test_labels):
    """Test accuracy of logistic regression on frozen representations; see `fit_linear_probe`.

    Args:
        train: Float array [train_count, features]. Representations.
        train_labels: Int array [train_count].
        test: Float array [test_count, features].
        test_labels: Int array [test_count].

    Returns:
        Python float in [0, 1].

    Raises:
        ValueError: If sizes do not match, a value is not finite, or there is a single class.

    Example:
        >>> train, labels = np.float32([[0, 0], [1, 9], [9, 1], [8, 8]]), [0, 0, 1, 1]
        >>> linear_probe(train, labels, np.float32([[1, 1], [9, 9]]), [0, 1])
        1.0
    """
    test, test_labels = np.asarray(test), np.asarray(test_labels)
    check_labelled(np.asarray(train), np.asarray(train_labels), "train")
    check_labelled(test, test_labels, "test")  # before the fit, which may take long
    return float(fit_linear_probe(train, train_labels).score(test, test_labels))


def fit_linear_probe(train, train_labels):
    """The classifier of `linear_probe`.

    Features are standardized. The L2 penalty is chosen on the training images, never on
    others: from the strongest on it is relaxed for as long as that helps under cross-validation
    (on one held-out fifth from 2,000 images on). The classifier is then fitted to all of them.

    Args:
        train: Float array [train_count, features]. Representations.
        train_labels: Int array [train_count].

    Returns:
        A fitted classifier of scikit-learn.

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

    train, train_labels = np.asarray(train), np.asarray(train_labels)
    check_labelled(train, train_labels, "train")
    images_per_class = np.unique(train_labels, return_counts=True)[1]
    if len(images_per_class) < 2 or images_per_class.max() < 2:
        raise ValueError(
            "A linear probe needs at least 2 classes and, of one of them, 2 training images, got "
            f"{len(images_per_class)} classes of at most {images_per_class.max()} images."
        )
    folds = StratifiedKFold(min(FOLDS, images_per_class.max()), shuffle=True, random_state=0)
    threads = 1 if train.size < THREADS_FROM_VALUES else None
    with warnings.catch_warnings(), threadpool_limits(threads):
        # A fit stopped at its last iteration is still a linear classifier, honestly scored,
        # a class of fewer images than folds is merely absent from some, and of features that are
        # all constant PCA divides a variance of 0 by 0 for a figure not used here.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        warnings.filterwarnings("ignore", "invalid value encountered in divide", RuntimeWarning)
        splits = list(folds.split(train, train_labels))
        splits = splits if len(train) < SINGLE_SPLIT_FROM else splits[:1]
        best_accuracy = -1.0
        for inverse_penalty in INVERSE_PENALTIES:
            candidate = _classifier(inverse_penalty, narrow=len(train) < train.shape[1])
            accuracy = cross_val_score(candidate, train, train_labels, cv=splits).mean()
            if accuracy < best_accuracy:
                break
            classifier, best_accuracy = candidate, accuracy
        return classifier.fit(train, train_labels)


def _classifier(inverse_penalty, narrow):
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # With fewer images than features the solution lies in the images' span: rotating into
    # it changes nothing but the time.
    rotation = [PCA()] if narrow else []
    return make_pipeline(
        StandardScaler(), *rotation, LogisticRegression(C=inverse_penalty, max_iter=300, tol=1e-3)
    )


def few_label_accuracy(
    train, train_labels, test, test_labels, *, labels_per_class=10, draws=5, seed=0
):
    """Mean test accuracy of linear probes that see a few labels of each class.

    Args:
        train: Float array [train_count, features]. Representations.
        train_labels: Int array [train_count].
        test: Float array [test_count, features].
        test_labels: Int array [test_count].
        labels_per_class: Int, at least 2. Fewer where a class has fewer images.
        draws: Int. Over how many random choices of labelled images to average.
        seed: Int. Of the choices, so that encoders are compared on the same ones.

    Returns:
        Python float in [0, 1].

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
    train, train_labels = np.asarray(train), np.asarray(train_labels)
    check_labelled(train, train_labels, "train")
    random, accuracies = np.random.default_rng(seed), []
    for _ in range(draws):
        classes = shuffled_classes(train_labels, random)
        chosen = np.concatenate([of_class[:labels_per_class] for of_class in classes])
        accuracies.append(linear_probe(train[chosen], train_labels[chosen], test, test_labels))
    return float(np.mean(accuracies))
