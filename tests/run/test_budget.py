import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bt.run import budget, epochs_in, steps_in


@pytest.mark.slow
def test_steps_fill_the_minutes_and_weights_are_restored(tiny_model, images, monkeypatch):
    monkeypatch.setattr(budget, "MEASURED_SECONDS", 0.1)
    model = tiny_model()
    model.compile(keras.optimizers.SGD(0.1))
    before = [weight.copy() for weight in model.get_weights()]

    def slowly(batch):
        tf.py_function(lambda: time.sleep(0.05), [], [])
        return batch

    batches = tf.data.Dataset.from_tensors({"image": images[:8]}).repeat().map(slowly)
    steps = steps_in(0.2, model, batches)
    assert 30 <= steps <= 232  # twelve seconds, less 3 %, of more than 50 ms each
    for got, wanted in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_compilation_and_monitors_count_as_part_of_the_minutes(tiny_model, monkeypatch):
    monkeypatch.setattr(budget, "_step_seconds", lambda *_: (8.0, 0.5))
    assert steps_in(1.0, tiny_model(), None) == (60 * 0.97 - 8) // 0.5


def test_minutes_must_be_above_zero():
    with pytest.raises(ValueError, match="minutes must be above 0, got -1"):
        steps_in(-1, None, None)


def test_steps_are_divided_into_equal_epochs(tiny_model, monkeypatch):
    monkeypatch.setattr(budget, "steps_in", lambda *_: 25)
    assert epochs_in(1.0, tiny_model(), None, 10) == (2, 13)
