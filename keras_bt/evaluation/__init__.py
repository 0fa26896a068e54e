"""How good an encoder is: representations, k-NN, linear probes, the published protocols."""

from keras_bt.evaluation.embedding import embed
from keras_bt.evaluation.knn import knn_accuracy, knn_sweep
from keras_bt.evaluation.linear import few_label_accuracy, linear_probe
from keras_bt.evaluation.monitors import KNNMonitor
from keras_bt.evaluation.protocols import crop_and_flip, fine_tune, linear_evaluation
from keras_bt.evaluation.scores import (
    embed_source,
    monitors,
    score,
    score_pixels,
    score_representations,
    score_untrained,
)
from keras_bt.evaluation.subset import labelled_subset

__all__ = [
    "KNNMonitor",
    "crop_and_flip",
    "embed",
    "embed_source",
    "few_label_accuracy",
    "fine_tune",
    "knn_accuracy",
    "knn_sweep",
    "labelled_subset",
    "linear_evaluation",
    "linear_probe",
    "monitors",
    "score",
    "score_pixels",
    "score_representations",
    "score_untrained",
]
