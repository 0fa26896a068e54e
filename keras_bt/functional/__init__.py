"""Pure functions of tensors: no Keras objects, no state, no strategy."""

from keras_bt.functional.correlation import cross_correlation, standardize
from keras_bt.functional.loss import invariance_and_redundancy, loss_floor
from keras_bt.functional.neighbors import knn_vote
from keras_bt.functional.spectrum import effective_rank, spread

__all__ = [
    "cross_correlation",
    "effective_rank",
    "invariance_and_redundancy",
    "knn_vote",
    "loss_floor",
    "spread",
    "standardize",
]
