"""How good an encoder is: representations, k-NN and linear probes."""

from keras_bt.evaluation.embedding import embed
from keras_bt.evaluation.knn import knn_accuracy
from keras_bt.evaluation.linear import few_label_accuracy, linear_probe
from keras_bt.evaluation.monitors import KNNMonitor
from keras_bt.evaluation.scores import monitors, score, score_pixels, score_untrained

__all__ = [
    "KNNMonitor",
    "embed",
    "few_label_accuracy",
    "knn_accuracy",
    "linear_probe",
    "monitors",
    "score",
    "score_pixels",
    "score_untrained",
]
