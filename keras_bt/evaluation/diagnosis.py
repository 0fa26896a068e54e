"""Finds problems of a training in its health metrics: collapse, dead dimensions, divergence."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

HEALTH_METRICS = (
    "representation_rank",
    "embedding_rank",
    "embedding_spread",
    "dead_dimensions",
    "mean_diagonal",
    "mean_off_diagonal",
    "loss_above_floor",
)

# The thresholds lie between measurements of sound and of broken trainings: digits (recipe, three
# seeds, 15 epochs), short runs on parts of fashion_mnist and cifar10, small networks on digits.
# Sound trainings, from before the first step on: representation_rank at least 5, embedding_spread
# at least 0.005, mean_off_diagonal at most 0.59 (0.38 at the end). Sound trainings, second half:
# mean_diagonal 0.4, loss 0.84 of the first. With redundancy_weight=0 mean_off_diagonal ends at
# 0.8 to 0.95, or at 0.6 in a slow training.
# Two minutes with a log-determinant (digits, fashion_mnist, photographs): mean_diagonal at least
# 0.32, loss at most 0.81 of the first at 24 % of a training, 1.13 at 12 % of one with 95 steps.
# Broken: mean_diagonal at most 0.15 with crops of 0.1 % of the area; loss 1.42 of the first with
# a learning rate of 16.
COLLAPSED_RANK = 1.5
COLLAPSED_SPREAD = 3e-4  # root of the loss's epsilon / 10, where epsilon divides c by 100
REDUNDANT_CORRELATION = 0.7
UNMATCHED_DIAGONAL = 0.2
LEARNED_FROM_PROGRESS = 0.15  # a sound training may show little before
NOT_LEARNING_RATIO = 0.95  # of the loss to that of the first step, both above the floor
DIVERGED_RATIO = 1.2  # from that progress on
DIVERGED_AT_ONCE_RATIO = 1.5  # before it, while the learning rate still rises


@dataclasses.dataclass(frozen=True)
class Finding:
    """A problem of a training.

    Args:
        name: Short name of the problem.
        explanation: What was measured, usual causes and what to try.

    Example:
        >>> print(Finding("dead dimensions", "3 are constant."))
        dead dimensions: 3 are constant.
    """

    name: str
    explanation: str

    def __str__(self) -> str:
        return f"{self.name}: {self.explanation}"


def diagnose(
    metrics: Mapping[str, float],
    progress: float = 1.0,
    untrained_loss: float | None = None,
    floor: float | None = 0.0,
    untrained_accuracy: tuple[float, int] | None = None,
) -> list[Finding]:
    """Returns the problems that the metrics of a training show.

    Args:
        metrics: The metrics of `EmbeddingHealth`, `loss` and, if known, `knn_accuracy`.
        progress: Finished fraction of the training, in [0, 1].
        untrained_loss: Loss of the first step. None if unknown.
        floor: Lowest possible loss. None if unknown.
        untrained_accuracy: k-NN accuracy before training, and the number of images classified.
            None if unknown.

    Returns:
        Empty for a sound training.

    Example:
        >>> metrics = dict(representation_rank=30.0, embedding_rank=8.0, embedding_spread=1.0)
        >>> metrics |= dict(dead_dimensions=0.0, mean_diagonal=0.9, mean_off_diagonal=0.8)
        >>> [finding.name for finding in diagnose({**metrics, "loss": 3.5})]
        ['dimensional collapse']
    """
    return [
        *_embedding_findings(metrics, progress),
        *_loss_findings(metrics["loss"], progress, untrained_loss, floor),
        *_accuracy_findings(metrics.get("knn_accuracy"), progress, untrained_accuracy),
    ]


def _embedding_findings(metrics: Mapping[str, float], progress: float) -> Iterator[Finding]:
    """Problems that the features and embeddings show."""
    rank, spread = metrics["representation_rank"], metrics["embedding_spread"]
    if rank < COLLAPSED_RANK or spread < COLLAPSED_SPREAD:
        yield Finding(
            "complete collapse",
            f"all images get nearly the same representation (effective rank {rank:.3g}) and "
            f"embedding (spread {spread:.2g}). Usual causes: units that died because the learning "
            "rate was too high, or weight decay without batch norm. Try a lower learning_rate, or "
            "batch norm in both networks.",
        )
    if metrics["mean_off_diagonal"] > REDUNDANT_CORRELATION:
        yield Finding(
            "dimensional collapse",
            "the dimensions of the embedding repeat each other: two of them correlate by "
            f"{metrics['mean_off_diagonal']:.2f} on average, and its effective rank is "
            f"{metrics['embedding_rank']:.3g}. Usual cause: redundancy_weight is 0 or far too "
            "small. Try the published 0.0051.",
        )
    if metrics["dead_dimensions"] > 0:
        yield Finding(
            "dead dimensions",
            f"{metrics['dead_dimensions']:.0f} dimensions of the embedding are constant over all "
            "images. Usual causes: a ReLU at the end of the projector, or too high a learning "
            "rate. Try a Dense layer at the end of the projector, or a lower learning_rate.",
        )
    if progress >= LEARNED_FROM_PROGRESS and metrics["mean_diagonal"] < UNMATCHED_DIAGONAL:
        yield Finding(
            "views not matched",
            "the embeddings of the two views of an image correlate by only "
            f"{metrics['mean_diagonal']:.2f} on average after {100 * progress:.0f} % of the "
            "training. Usual causes: augmentation so strong that the views have little in common, "
            "too few steps, or a learning rate that is far too low or too high. Try a larger "
            "crop_area, then another learning_rate.",
        )


def _loss_findings(
    loss: float, progress: float, untrained_loss: float | None, floor: float | None
) -> Iterator[Finding]:
    """Problems that the loss shows, compared with the loss of the first step."""
    floor = floor or 0.0  # the loss of a log-determinant is above 0, its floor is unknown
    if untrained_loss is None or untrained_loss <= floor:
        return
    ratio = (loss - floor) / (untrained_loss - floor)
    if ratio > (DIVERGED_RATIO if progress >= LEARNED_FROM_PROGRESS else DIVERGED_AT_ONCE_RATIO):
        yield Finding(
            "diverged",
            f"the loss rose from {untrained_loss:.4g} in the first step to {loss:.4g}. Usual "
            "causes: too high a learning rate, or too short a warm-up. Try a learning_rate ten "
            "times lower.",
        )
    elif progress >= LEARNED_FROM_PROGRESS and ratio > NOT_LEARNING_RATIO:
        yield Finding(
            "not learning",
            f"the loss was {untrained_loss:.4g} in the first step and is {loss:.4g} after "
            f"{100 * progress:.0f} % of the training. Usual causes: too few steps, or a learning "
            "rate that is far too low or too high. Try more epochs, then a learning_rate ten times "
            "higher and ten times lower.",
        )


def _accuracy_findings(
    accuracy: float | None, progress: float, untrained: tuple[float, int] | None
) -> Iterator[Finding]:
    """Problems that the k-NN accuracy shows, compared with that before training."""
    if accuracy is None or untrained is None or progress < LEARNED_FROM_PROGRESS:
        return
    before, images = untrained
    noise = 1.96 * math.sqrt(before * (1.0 - before) / images)
    if accuracy < before - noise:
        yield Finding(
            "worse than untrained",
            f"k-NN classifies {accuracy:.1%} of a sample of the held-out images after "
            f"{progress:.0%} of the training, and {before:.1%} before training. Usual causes: too "
            "few steps, or augmentation that removes what distinguishes the classes. Try more "
            "minutes or epochs, then a larger crop_area.",
        )


def health_report(
    logs: Mapping[str, float],
    untrained_loss: float | None = None,
    floor: float | None = 0.0,
    untrained_accuracy: tuple[float, int] | None = None,
) -> dict[str, Any] | None:
    """Returns the health metrics and findings at the end of a training.

    Args:
        logs: Logs of its last epoch, with the metrics of `EmbeddingHealth`.
        untrained_loss: See `diagnose`.
        floor: See `diagnose`.
        untrained_accuracy: See `diagnose`.

    Returns:
        The metrics, and under "findings" the problems as strings. None if the logs have no
        health metrics.

    Example:
        >>> logs = {**dict.fromkeys(HEALTH_METRICS, 0.5), "epoch": 9, "loss": 3.5}
        >>> report = health_report(logs)
        >>> report["mean_diagonal"], len(report["findings"])
        (0.5, 2)
    """
    metrics = {name: logs[name] for name in HEALTH_METRICS if name in logs}
    if not metrics:
        return None
    findings = diagnose(logs, 1.0, untrained_loss, floor, untrained_accuracy)
    return {**metrics, "findings": [str(finding) for finding in findings]}
