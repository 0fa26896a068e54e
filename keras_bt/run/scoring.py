"""Scores the encoder of a run and its baselines, and stores the data of the report's map."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bt import evaluation
from keras_bt._support.progress_bar import stage
from keras_bt.data import Images, Source
from keras_bt.report import MAPPED_IMAGES, save_map

BATCH_SIZE = 256  # for extracting features
# With a budget, scores take a tenth of it. Each is of so many images a minute, and no fewer.
SCORED_PER_MINUTE, LEAST_SCORED = {"train": 500, "test": 250}, 500


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
        hits: See `evaluation.scores.hits`; empty without labels.
    """

    metrics: dict[str, float | None]
    images: Images
    features: np.ndarray
    labels: np.ndarray | None = None
    predicted: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    hits: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

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


def score(encoder: evaluation.features.Encoder, source: Source, image_size: int) -> Scores:
    """The metrics of an encoder on the held-out images.

    Args:
        encoder: A trained or untrained encoder, or a layer that flattens pixels.
        source: The images of the run. Without labels, only features are extracted.
        image_size: Side of the images, in pixels.
    """
    if source.test is None:
        images = source.train.at_most(MAPPED_IMAGES)
        features, _ = evaluation.extract_features(encoder, images.batches(BATCH_SIZE, image_size))
        return Scores(metrics=evaluation.NO_SCORES, images=images, features=features)
    train, test = evaluation.extract_source_features(encoder, source, image_size)
    probe = evaluation.fit_linear_probe(*train, evaluation.PROBE_IMAGES)
    features, labels = test
    hits = evaluation.hits(*train, *test, probe)
    metrics: dict[str, float | None] = {name: float(right.mean()) for name, right in hits.items()}
    metrics["few_label_accuracy"] = evaluation.few_label_accuracy(*train, *test)
    return Scores(
        metrics=metrics,
        images=source.test,
        features=features,
        labels=labels,
        predicted=probe.predict(features),
        class_names=source.class_names,
        hits=hits,
    )


def score_baselines(
    encoder: keras.Model, source: Source, image_size: int, shown: bool = False
) -> dict[str, Any]:
    """The metrics of raw pixels and of the untrained encoder, for comparison.

    Args:
        encoder: The encoder before training; it is not changed.
        source: The images to score.
        image_size: Side of the encoder's images, in pixels.
        shown: Whether the stages are shown.

    Returns:
        {"pixels": metrics, "untrained": metrics}; with labels also "hits", see `compare`, and
        "seconds", which scoring the untrained encoder took. JSON can hold them.
    """
    if source.test is None:
        return dict.fromkeys(("pixels", "untrained"), evaluation.NO_SCORES)
    begin = time.monotonic()
    with stage("scoring the untrained encoder", shown):
        untrained = score(evaluation.untrained_copy(encoder), source, image_size)
    seconds = round(time.monotonic() - begin, 1)
    with stage("scoring raw pixels", shown):
        side = min(image_size, evaluation.LARGEST_PIXEL_SIDE)
        pixels = score(keras.layers.Flatten(), source, side)
    found = {"pixels": pixels, "untrained": untrained}
    return {
        **{name: scores.metrics for name, scores in found.items()},
        "hits": {name: hits_as_text(scores) for name, scores in found.items()},
        "seconds": seconds,
    }


def sample_to_score(source: Source, minutes: float) -> Source:
    """The source with no more labelled images than can be scored in a budget.

    Args:
        source: The images of the run; those to train on stay.
        minutes: The budget of the run.

    Example:
        >>> from keras_bt.data import digits
        >>> train, test = sample_to_score(digits(), minutes=2).for_evaluation()
        >>> train.count, test.count
        (719, 360)
    """
    labelled, test = source.for_evaluation()
    if test is None:
        return source
    most = {name: max(LEAST_SCORED, round(n * minutes)) for name, n in SCORED_PER_MINUTE.items()}
    labelled, test = labelled.at_most(most["train"]), test.at_most(most["test"])
    return dataclasses.replace(source, labelled=labelled, test=test)


def compare(trained: Scores, baseline_hits: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """The advantage of an encoder over each baseline, see `evaluation.advantage`.

    Args:
        trained: The scores of the encoder.
        baseline_hits: From `hits_as_text`, for each baseline; nothing in runs begun before.

    Returns:
        {baseline: {metric: [difference, low, high]}}.
    """
    return {
        name: {
            metric: [
                round(value, 4)
                for value in evaluation.advantage(right, [c == "1" for c in texts[metric]])
            ]
            for metric, right in trained.hits.items()
            if len(texts.get(metric, "")) == len(right)
        }
        for name, texts in baseline_hits.items()
    }


def hits_as_text(scores: Scores) -> dict[str, str]:
    """`Scores.hits` with a 1 for each correct image and a 0 for each other one, for JSON."""
    return {
        metric: "".join("01"[int(hit)] for hit in right) for metric, right in scores.hits.items()
    }


def scoring_method(source: Source, scored: Source) -> str:
    """How the accuracies of a run were measured, in words.

    Args:
        source: All images.
        scored: From `sample_to_score`.

    Example:
        >>> from keras_bt.data import digits
        >>> scoring_method(digits(), sample_to_score(digits(), minutes=1)).split("; ")[-1]
        'on 479 of 1,437 labelled and 360 of 360 held-out images'
    """
    if scored is source or source.test is None:
        return evaluation.SCORING_METHOD
    (train, test), (few, tested) = source.for_evaluation(), scored.for_evaluation()
    assert test is not None and tested is not None
    return (
        f"{evaluation.SCORING_METHOD}; on {few.count:,} of {train.count:,} labelled and "
        f"{tested.count:,} of {test.count:,} held-out images"
    )
