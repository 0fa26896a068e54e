import keras
import numpy as np
import pytest

from keras_bt import data
from keras_bt.evaluation import scores


@pytest.mark.slow
def test_scores_pixels_and_an_untrained_encoder():
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
    assert untrained["knn_accuracy"] > 0.5  # with gamma 0 it would guess
    for got, wanted in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_images_without_labels_have_no_scores():
    unlabelled = data.Source("mine", data.from_arrays(np.zeros((4, 8, 8, 3), "uint8")))
    result = scores.score_pixels(unlabelled, 8)
    assert result == scores.NO_SCORES == dict.fromkeys(scores.METRIC_LABELS)
    result["knn_accuracy"] = 0.5
    assert scores.NO_SCORES["knn_accuracy"] is None


@pytest.mark.slow
def test_given_probe_is_not_fitted_again(rng):
    class Probe:
        def predict(self, features):
            return np.where(np.arange(20) < 5, np.arange(20) % 2, 2)

    train, labels = rng.normal(size=(20, 3)), np.arange(20) % 2
    metrics = scores.score_features(train, labels, train, labels, probe=Probe())
    assert list(metrics) == list(scores.METRIC_LABELS) and metrics["linear_accuracy"] == 0.25
