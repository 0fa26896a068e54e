"""The three accuracies of a run: of its encoder, of an untrained one and of raw pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_bt.evaluation.features import Encoder, extract_features
from keras_bt.evaluation.knn import knn_predictions
from keras_bt.evaluation.linear import few_label_accuracy, fit_linear_probe

if TYPE_CHECKING:
    from keras_bt.data import Images, Source

# Labels of the keys of result.json, in the order of tables.
ENCODER_LABELS = {"trained": "this encoder", "untrained": "untrained", "pixels": "raw pixels"}
METRIC_LABELS = {
    "knn_accuracy": "k-NN",
    "linear_accuracy": "linear",
    "few_label_accuracy": "few labels",
}
NO_SCORES: dict[str, float | None] = dict.fromkeys(METRIC_LABELS)  # without labels
PROBE_IMAGES = 10_000
SCORING_METHOD = (
    "offline, frozen encoder of the last epoch, held-out images; k-NN: cosine, k 200 (a fifth of "
    "fewer than 1,000 images), temperature 0.1; linear: logistic regression on at most "
    f"{PROBE_IMAGES:,} training images; few labels: the same on ten images per class, "
    "mean of five draws"
)
BATCH_SIZE = 256
LARGEST_PIXEL_SIDE = 32


def score(
    encoder: Encoder, source: Source, image_size: int, probe_images: int | None = PROBE_IMAGES
) -> dict[str, float | None]:
    """Returns the accuracies of an encoder on the held-out images.

    Args:
        encoder: See `extract_features`.
        source: Images, with or without labels.
        image_size: Side of the images that the encoder takes, in pixels.
        probe_images: Fits the linear probe to about this number of training images. None uses
            all images.

    Returns:
        {"knn_accuracy", "linear_accuracy", "few_label_accuracy"}: in [0, 1], or None each if
        the source has no labels.

    Example:
        >>> from keras_bt.data import Source, from_arrays
        >>> unlabelled = Source("mine", from_arrays(np.zeros([4, 8, 8, 3], "uint8")))
        >>> score(keras.layers.Flatten(), unlabelled, image_size=8)["knn_accuracy"] is None
        True
    """
    if source.test is None:
        return dict(NO_SCORES)
    train, test = extract_source_features(encoder, source, image_size)
    return score_features(*train, *test, probe_images=probe_images)


def extract_source_features(
    encoder: Encoder, source: Source, image_size: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Returns the features and labels of all images of a labelled source.

    Args:
        encoder: See `extract_features`.
        source: Labelled images, some of them held out.
        image_size: Side of the images that the encoder takes, in pixels.

    Returns:
        (features, labels) of the training images and (features, labels) of the held-out ones.

    Raises:
        ValueError: If the source has no labels.

    Example:
        >>> from keras_bt.data import digits
        >>> train, test = extract_source_features(keras.layers.Flatten(), digits(), image_size=8)
        >>> train[0].shape, test[1].shape
        ((1437, 192), (360,))
    """

    def extract(images: Images | None) -> tuple[np.ndarray, np.ndarray]:
        if images is None or not images.labelled:
            raise ValueError(f"{source.name} has no labels to evaluate with.")
        features, labels = extract_features(encoder, images.batches(BATCH_SIZE, image_size))
        return features, np.asarray(labels)

    train, test = source.for_evaluation()
    return extract(train), extract(test)


def score_features(
    train: np.ndarray,
    train_labels: ArrayLike,
    test: np.ndarray,
    test_labels: ArrayLike,
    *,
    probe_images: int | None = None,
    probe: Any = None,
) -> dict[str, float | None]:
    """Returns the accuracies of features.

    Args:
        train: Float array [train_count, features].
        train_labels: Int array [train_count].
        test: Float array [test_count, features].
        test_labels: Int array [test_count].
        probe_images: See `score`.
        probe: From `fit_linear_probe` on the training features. None fits one.

    Returns:
        As `score`.

    Example:
        >>> train, labels = np.float32([[0, 1], [1, 0], [9, 8], [8, 9]]), [0, 0, 1, 1]
        >>> score_features(train, labels, train, labels)["linear_accuracy"]
        1.0
    """
    if probe is None:
        probe = fit_linear_probe(train, train_labels, probe_images)
    found = hits(train, train_labels, test, test_labels, probe)
    return {
        **{name: float(np.mean(right)) for name, right in found.items()},
        "few_label_accuracy": few_label_accuracy(train, train_labels, test, test_labels),
    }


def hits(
    train: np.ndarray, train_labels: ArrayLike, test: np.ndarray, test_labels: ArrayLike, probe: Any
) -> dict[str, np.ndarray]:
    """Returns which test images k-NN and a linear probe classify correctly.

    Args:
        train: See `score_features`.
        train_labels: See `score_features`.
        test: See `score_features`.
        test_labels: See `score_features`.
        probe: See `score_features`.

    Returns:
        Bool arrays [test_count]; their means are the accuracies.

    Example:
        >>> train, labels = np.float32([[0, 1], [1, 0], [9, 8], [8, 9]]), [0, 0, 1, 1]
        >>> probe = fit_linear_probe(train, labels)
        >>> hits(train, labels, train, [0, 0, 1, 0], probe)["linear_accuracy"]
        array([ True,  True,  True, False])
    """
    labels = np.asarray(test_labels)
    return {
        "knn_accuracy": knn_predictions(train, train_labels, test) == labels,
        "linear_accuracy": probe.predict(test) == labels,
    }


def score_pixels(source: Source, image_size: int) -> dict[str, float | None]:
    """Returns the accuracies of raw pixels, the first baseline of an encoder.

    Args:
        source: Images, with or without labels.
        image_size: Side in pixels. Larger images are resized to 32 pixels.

    Returns:
        As `score`.

    Example:
        >>> from keras_bt.data import Source, from_arrays
        >>> gray = np.repeat(np.uint8([10, 12, 200, 202]), 3).reshape(4, 1, 1, 3)
        >>> images = from_arrays(gray, labels=[0, 0, 1, 1])
        >>> score_pixels(Source("mine", images, test=images, classes=2), 1)["linear_accuracy"]
        1.0
    """
    return score(keras.layers.Flatten(), source, min(image_size, LARGEST_PIXEL_SIDE))


def score_untrained(
    encoder: keras.Model, source: Source, image_size: int
) -> dict[str, float | None]:
    """Returns the accuracies of the same architecture with random weights, the second baseline.

    Each batch norm gets gamma 1. Before training, the last one of each ResNet block has gamma 0.
    Such a network sees only small patches, and any training would look like progress.

    Args:
        encoder: Built model. It is not changed.
        source: Images, with or without labels.
        image_size: Side of the images that the encoder takes, in pixels.

    Returns:
        As `score`.

    Example:
        >>> from keras_bt.data import Source, from_arrays
        >>> encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        >>> unlabelled = Source("mine", from_arrays(np.zeros([4, 8, 8, 3], "uint8")))
        >>> score_untrained(encoder, unlabelled, image_size=8)["knn_accuracy"] is None
        True
    """
    return score(untrained_copy(encoder), source, image_size)


def untrained_copy(encoder: keras.Model) -> keras.Model:
    """Returns the same architecture with random weights, and gamma 1 in each batch norm.

    Args:
        encoder: Built model. It is not changed.

    Example:
        >>> encoder = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
        >>> untrained_copy(encoder).layers[0].gamma.numpy()
        array([1., 1.], dtype=float32)
    """
    untrained = keras.models.clone_model(encoder)
    for layer in untrained.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(keras.ops.ones_like(layer.gamma))
    return untrained
