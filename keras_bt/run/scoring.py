"""Scores the encoder of a run and its baselines, and stores the data of the report's map."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bt import evaluation
from keras_bt.data import Images, Source
from keras_bt.report import MAPPED_IMAGES, save_map

BATCH_SIZE = 256  # for extracting features


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """The metrics of an encoder, and the features from which they were computed.

    Args:
        metrics: `knn_accuracy`, `linear_accuracy`, `few_label_accuracy`; None without labels.
        images: The images of the features: held-out ones, or training images without labels.
        features: Float array [images, features].
        labels: Int array [images], or None.
        predicted: Int array [images]: predictions of the linear probe, or None.
        class_names: Names of the classes.
    """

    metrics: dict[str, float | None]
    images: Images
    features: np.ndarray
    labels: np.ndarray | None = None
    predicted: np.ndarray | None = None
    class_names: tuple[str, ...] = ()

    def save_map(self, file: Path, image_size: int) -> None:
        """Writes the features and thumbnails from which the report draws its map."""
        save_map(
            file,
            self.images,
            image_size,
            self.features,
            self.labels,
            self.predicted,
            self.class_names,
        )


def score_baselines(encoder: keras.Model, source: Source, image_size: int) -> dict[str, Any]:
    """The metrics of raw pixels and of the untrained encoder, for comparison.

    Args:
        encoder: The encoder before training; it is not changed.
        source: The images of the run.
        image_size: Side of the encoder's images, in pixels.

    Returns:
        {"pixels": metrics, "untrained": metrics}.
    """
    return {
        "pixels": evaluation.score_pixels(source, image_size),
        "untrained": evaluation.score_untrained(encoder, source, image_size),
    }


def score_trained(encoder: keras.Model, source: Source, image_size: int) -> Scores:
    """The metrics of a trained encoder on the held-out images.

    Args:
        encoder: The trained encoder.
        source: The images of the run. Without labels, only features are extracted.
        image_size: Side of the encoder's images, in pixels.
    """
    if source.test is None:
        images = source.train.at_most(MAPPED_IMAGES)
        features, _ = evaluation.extract_features(encoder, images.batches(BATCH_SIZE, image_size))
        return Scores(metrics=evaluation.NO_SCORES, images=images, features=features)
    train, test = evaluation.extract_source_features(encoder, source, image_size)
    probe = evaluation.fit_linear_probe(*train, evaluation.PROBE_IMAGES)
    features, labels = test
    return Scores(
        metrics=evaluation.score_features(*train, *test, probe=probe),
        images=source.test,
        features=features,
        labels=labels,
        predicted=probe.predict(features),
        class_names=source.class_names,
    )
