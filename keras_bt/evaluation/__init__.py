"""Evaluates encoders: k-NN, linear probes, published protocols, and health during training."""

from keras_bt.evaluation.advantage import Advantage, advantage
from keras_bt.evaluation.classifier import fine_tune, linear_evaluation
from keras_bt.evaluation.diagnosis import diagnose, health_report
from keras_bt.evaluation.features import extract_features
from keras_bt.evaluation.health import EmbeddingHealth
from keras_bt.evaluation.knn import knn_accuracy, knn_sweep
from keras_bt.evaluation.linear import few_label_accuracy, fit_linear_probe, linear_probe
from keras_bt.evaluation.monitors import KNNMonitor, LinearProbeMonitor
from keras_bt.evaluation.protocols import (
    LINEAR_PROTOCOL,
    SEMI_SUPERVISED_PROTOCOL,
    Protocol,
    crop_and_flip,
)
from keras_bt.evaluation.schedule import default_monitors
from keras_bt.evaluation.scores import (
    ENCODER_LABELS,
    LARGEST_PIXEL_SIDE,
    METRIC_LABELS,
    NO_SCORES,
    PROBE_IMAGES,
    SCORING_METHOD,
    extract_source_features,
    hits,
    score,
    score_features,
    score_pixels,
    score_untrained,
    untrained_copy,
)
from keras_bt.evaluation.subset import labelled_subset

__all__ = [
    "ENCODER_LABELS",
    "LARGEST_PIXEL_SIDE",
    "LINEAR_PROTOCOL",
    "METRIC_LABELS",
    "NO_SCORES",
    "PROBE_IMAGES",
    "SCORING_METHOD",
    "SEMI_SUPERVISED_PROTOCOL",
    "Advantage",
    "EmbeddingHealth",
    "KNNMonitor",
    "LinearProbeMonitor",
    "Protocol",
    "advantage",
    "crop_and_flip",
    "default_monitors",
    "diagnose",
    "extract_features",
    "extract_source_features",
    "few_label_accuracy",
    "fine_tune",
    "fit_linear_probe",
    "health_report",
    "hits",
    "knn_accuracy",
    "knn_sweep",
    "labelled_subset",
    "linear_evaluation",
    "linear_probe",
    "score",
    "score_features",
    "score_pixels",
    "score_untrained",
    "untrained_copy",
]
