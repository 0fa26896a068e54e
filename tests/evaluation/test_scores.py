import keras
import numpy as np
import pytest

from keras_bt import data
from keras_bt.evaluation import scores


def test_rare_classes_survive_thinning():
    labels = np.repeat([0, 1, 2], [15000, 15000, 4])
    kept = scores._evenly_spaced(labels, 10_000)
    assert np.bincount(labels[kept]).tolist() == [3750, 3750, 2]
    np.testing.assert_array_equal(scores._evenly_spaced(labels, len(labels)), np.arange(30004))


def test_scores_of_pixels_and_of_an_untrained_encoder():
    source = data.digits()
    pixels = scores.score_pixels(source, 8)
    assert pixels["knn_accuracy"] == pytest.approx(0.93, abs=0.02)
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(gamma_initializer="zeros"),
            keras.layers.Flatten(),
        ]
    )
    before = [weight.copy() for weight in encoder.get_weights()]
    untrained = scores.score_untrained(encoder, source, 8)
    assert untrained["knn_accuracy"] > 0.5  # with every gamma at 0 it could only guess
    for got, wanted in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, wanted)
