"""How good an encoder is, and how sound: representations, k-NN, linear probes, health."""

from keras_bt.evaluation.embedding import embed
from keras_bt.evaluation.health import EmbeddingHealth, health_report
from keras_bt.evaluation.knn import knn_accuracy
from keras_bt.evaluation.linear import few_label_accuracy, linear_probe
from keras_bt.evaluation.monitors import KNNMonitor, LinearProbeMonitor
from keras_bt.evaluation.scores import (
    health_monitor,
    monitors,
    score,
    score_pixels,
    score_untrained,
)

__all__ = [
    "EmbeddingHealth",
    "KNNMonitor",
    "LinearProbeMonitor",
    "embed",
    "few_label_accuracy",
    "health_monitor",
    "health_report",
    "knn_accuracy",
    "linear_probe",
    "monitors",
    "score",
    "score_pixels",
    "score_untrained",
]
