"""How good an encoder is, and how sound: k-NN, linear probes, published protocols, health."""

from keras_bt.evaluation.features import extract_features
from keras_bt.evaluation.health import EmbeddingHealth, health_report
from keras_bt.evaluation.knn import knn_accuracy, knn_sweep
from keras_bt.evaluation.linear import few_label_accuracy, linear_probe
from keras_bt.evaluation.monitors import KNNMonitor, LinearProbeMonitor
from keras_bt.evaluation.protocols import crop_and_flip, fine_tune, linear_evaluation
from keras_bt.evaluation.schedule import default_monitors
from keras_bt.evaluation.scores import (
    PROBE_IMAGES,
    PROTOCOL,
    UNKNOWN,
    extract_source_features,
    fit_probe,
    score,
    score_pixels,
    score_representations,
    score_untrained,
    scores_of_probe,
)
from keras_bt.evaluation.subset import labelled_subset

__all__ = [
    "PROBE_IMAGES",
    "PROTOCOL",
    "UNKNOWN",
    "EmbeddingHealth",
    "KNNMonitor",
    "LinearProbeMonitor",
    "crop_and_flip",
    "default_monitors",
    "extract_features",
    "extract_source_features",
    "few_label_accuracy",
    "fine_tune",
    "fit_probe",
    "health_report",
    "knn_accuracy",
    "knn_sweep",
    "labelled_subset",
    "linear_evaluation",
    "linear_probe",
    "score",
    "score_pixels",
    "score_representations",
    "score_untrained",
    "scores_of_probe",
]
