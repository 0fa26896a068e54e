"""The three figures by which a run's encoder, an untrained one and raw pixels compare."""

import keras
import numpy as np

from keras_bt.evaluation.features import extract_features
from keras_bt.evaluation.knn import knn_accuracy
from keras_bt.evaluation.linear import few_label_accuracy, fit_linear_probe

LARGEST_PIXEL_SIDE = 32
BATCH_SIZE = 256
PROBE_IMAGES = 10_000
UNKNOWN = dict.fromkeys(("knn_accuracy", "linear_accuracy", "few_label_accuracy"))
PROTOCOL = (
    "offline, frozen encoder of the last epoch, held-out images; k-NN: cosine, k 200, temperature "
    f"0.1; linear: logistic regression on at most {PROBE_IMAGES:,} training images; few labels: "
    "the same on ten a class, five draws"
)


def score(encoder, source, image_size, probe_images=PROBE_IMAGES):
    """Accuracies of an encoder's representations on the held-out images.

    Args:
        encoder: See `extract_features`.
        source: `data.Source`.
        image_size: Int. Side of the images the encoder gets, in pixels.
        probe_images: Int. The linear probe is fitted to at most so many of the training
            images, evenly spaced; None fits it to all.

    Returns:
        {"knn_accuracy", "linear_accuracy", "few_label_accuracy"}: floats in [0, 1], or
        None each where the source has no labels.

    Example:
        >>> from keras_bt.data import Source, from_arrays
        >>> import numpy as np
        >>> unlabelled = Source("mine", from_arrays(np.zeros([4, 8, 8, 3], "uint8")))
        >>> score(keras.layers.Flatten(), unlabelled, image_size=8)["knn_accuracy"] is None
        True
    """
    if source.test is None:
        return UNKNOWN
    train, test = extract_source_features(encoder, source, image_size)
    return score_representations(*train, *test, probe_images=probe_images)


def extract_source_features(encoder, source, image_size):
    """Representations and labels of all images of a labelled source.

    Args:
        encoder: See `extract_features`.
        source: `data.Source` with held-out images.
        image_size: Int. Side of the images the encoder gets, in pixels.

    Returns:
        (train, test), each the pair that `extract_features` returns.

    Example:
        >>> from keras_bt.data import digits
        >>> train, test = extract_source_features(keras.layers.Flatten(), digits(), image_size=8)
        >>> train[0].shape, test[1].shape
        ((1437, 192), (360,))
    """
    train, test = (
        extract_features(encoder, images.batches(BATCH_SIZE, image_size))
        for images in source.for_evaluation()
    )
    return train, test


def score_representations(train, train_labels, test, test_labels, *, probe_images=None):
    """The three figures from representations.

    Args:
        train: Float array [train_count, features].
        train_labels: Int array [train_count].
        test: Float array [test_count, features].
        test_labels: Int array [test_count].
        probe_images: See `score`.

    Returns:
        As `score`.

    Example:
        >>> train, labels = np.float32([[0, 1], [1, 0], [9, 8], [8, 9]]), [0, 0, 1, 1]
        >>> score_representations(train, labels, train, labels)["linear_accuracy"]
        1.0
    """
    probe = fit_probe(train, train_labels, probe_images)
    return scores_of_probe(probe, train, train_labels, test, test_labels)


def fit_probe(train, train_labels, probe_images=None):
    """The classifier of the linear probe among the three figures.

    Args:
        train: Float array [train_count, features].
        train_labels: Int array [train_count].
        probe_images: See `score`.

    Returns:
        A fitted classifier of scikit-learn.

    Example:
        >>> train, labels = np.float32([[0, 1], [1, 0], [9, 8], [8, 9]]), [0, 0, 1, 1]
        >>> fit_probe(train, labels).predict(train).tolist()
        [0, 0, 1, 1]
    """
    train_labels = np.asarray(train_labels)
    kept = _evenly_spaced(train_labels, probe_images or len(train))
    return fit_linear_probe(train[kept], train_labels[kept])


def scores_of_probe(probe, train, train_labels, test, test_labels):
    """`score_representations` with a probe that was fitted before.

    Example:
        >>> train, labels = np.float32([[0, 1], [1, 0], [9, 8], [8, 9]]), [0, 0, 1, 1]
        >>> probe = fit_probe(train, labels)
        >>> scores_of_probe(probe, train, labels, train, labels)["few_label_accuracy"]
        1.0
    """
    return {
        "knn_accuracy": knn_accuracy(train, train_labels, test, test_labels),
        "linear_accuracy": float(probe.score(test, test_labels)),
        "few_label_accuracy": few_label_accuracy(train, train_labels, test, test_labels),
    }


def _evenly_spaced(labels, count):
    """Indices of about `count` images, evenly spaced in each class, two at least of each."""
    step = -(-len(labels) // count)
    of_classes = (np.flatnonzero(labels == label) for label in np.unique(labels))
    kept = [of[:: min(step, max(1, len(of) // 2))] for of in of_classes]
    return np.sort(np.concatenate(kept))


def score_pixels(source, image_size):
    """The same figures with the pixels themselves as representation.

    Args:
        source: `data.Source`.
        image_size: Int. Larger images are first brought to 32 pixels.

    Returns:
        As `score`.

    Example:
        >>> from keras_bt.data import Source, from_arrays
        >>> import numpy as np
        >>> unlabelled = Source("mine", from_arrays(np.zeros([4, 8, 8, 3], "uint8")))
        >>> score_pixels(unlabelled, image_size=8)["linear_accuracy"] is None
        True
    """
    return score(keras.layers.Flatten(), source, min(image_size, LARGEST_PIXEL_SIDE))


def score_untrained(encoder, source, image_size):
    """The same figures for the encoder's architecture with random weights.

    Batch norms start with gamma 1. As initialized for training the last of each block has
    gamma 0: a ResNet then sees a single small patch, and any training would look good
    beside it.

    Args:
        encoder: Built `keras.Model`; it is not changed.
        source: `data.Source`.
        image_size: Int. Side of the images the encoder gets, in pixels.

    Returns:
        As `score`.

    Example:
        >>> import keras_bt
        >>> from keras_bt.data import Source, from_arrays
        >>> import numpy as np
        >>> encoder = keras_bt.resnet18((8, 8, 3), width=1, stem="small")
        >>> unlabelled = Source("mine", from_arrays(np.zeros([4, 8, 8, 3], "uint8")))
        >>> score_untrained(encoder, unlabelled, image_size=8)["knn_accuracy"] is None
        True
    """
    untrained = keras.models.clone_model(encoder)
    for layer in untrained.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(keras.ops.ones_like(layer.gamma))
    return score(untrained, source, image_size)
