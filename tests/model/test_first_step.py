"""Views and encoders that train to nothing: what `fit` says after its first step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.model.first_step import LEAST_SPREAD, input_spread


class Times255(keras.layers.Layer):
    def call(self, images):
        return 255.0 * images


def noise(amount=0.1):
    return keras.layers.GaussianNoise(amount)


@pytest.fixture
def warnings_of(caplog):
    def warnings_of(model, *data, **options):
        caplog.clear()
        model.fit(*data, batch_size=8, verbose=0, **options)
        return [each.getMessage() for each in caplog.records if each.name == "keras_bt"]

    return warnings_of


@pytest.mark.parametrize("options", [{}, {"jit_compile": True}, {"run_eagerly": True}])
def test_views_out_of_range_raise(tiny_model, images, options):
    model = tiny_model((Times255(), noise()))
    model.compile("sgd", **options)
    with pytest.raises(ValueError, match=r"^Views must return images in \[0, 1\], got .*25\d\]"):
        model.fit(images, batch_size=8, verbose=0)
    assert model.optimizer.iterations.numpy() == 1


@pytest.mark.slow
def test_noise_may_leave_the_range(tiny_model, images, warnings_of):
    model = tiny_model((noise(0.2), noise(0.2)))
    model.compile("sgd", run_eagerly=True)
    assert warnings_of(model, images) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"run_eagerly": True}, {"steps_per_execution": 2, "hold_nonfinite": True}]
)
def test_equal_views_are_warned_of_once(tiny_model, images, options, warnings_of):
    model = tiny_model((keras.layers.Identity(), keras.layers.Identity()), micro_batches=2)
    model.compile("sgd", **options)
    (warning,) = warnings_of(model, images, epochs=2)
    assert warning.startswith("View A and view B are equal in the first batch")
    assert warnings_of(model, images) == []


@pytest.mark.slow
def test_equal_pairs_are_warned_of(tiny_model, images, warnings_of):
    model = tiny_model(None)
    model.compile("sgd", run_eagerly=True)
    (warning,) = warnings_of(model, images, images)
    assert "are equal" in warning


@pytest.mark.slow
def test_black_images_and_good_views_are_not_warned_of(tiny_model, images, warnings_of):
    for views, data in ((None, (np.zeros_like(images),) * 2), ("noisy", (images,))):
        model = tiny_model(views)
        model.compile("sgd", run_eagerly=True)
        assert warnings_of(model, *data) == []


@pytest.mark.slow
def test_equal_views_under_a_strategy_are_warned_of(tiny_model, images, warnings_of):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = tiny_model((keras.layers.Identity(), keras.layers.Identity()))
        model.compile("sgd")
    assert len(warnings_of(model, images)) == 1


@pytest.mark.slow
def test_the_views_of_the_first_step_are_computed_once(tiny_model, images):
    calls = []

    class Counted(keras.layers.Layer):
        def call(self, images):
            tf.py_function(lambda: calls.append(1), [], [])
            return images

    model = tiny_model((Counted(), noise()))
    model.compile("sgd")
    model.fit(images, batch_size=16, verbose=0)
    assert len(calls) == 1


@pytest.mark.slow
def test_an_encoder_with_its_own_rescaling_is_warned_of(tiny_model, images, warnings_of):
    plain = tiny_model()
    encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255)])
    encoder.add(plain.encoder)
    model = keras_bt.BarlowTwins(encoder, plain.projector, plain.views)
    model.compile("sgd", run_eagerly=True)
    (warning,) = warnings_of(model, images)
    assert "values with a deviation of 0.0011. Leave out its own preprocessing" in warning


@pytest.mark.parametrize(
    ("layers", "warned"),
    [
        ([], False),
        ([keras.layers.Rescaling(1 / 127.5, offset=-1.0)], True),
        ([keras.layers.Rescaling(255.0), keras.layers.Rescaling(1 / 127.5, offset=-1.0)], False),
        ([keras.layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.05] * 3)], False),
        ([keras.layers.Normalization(mean=[90, 110, 130], variance=[3000] * 3)], True),
    ],
)
def test_scaling_is_measured_in_each_channel(layers, warned):
    encoder = keras.Sequential([*layers, keras.layers.Conv2D(4, 3), keras.layers.Flatten()])
    spread = input_spread(encoder, tf.TensorShape([None, None, 3]))
    assert (spread < LEAST_SPREAD) == warned
    assert keras.layers.Layer.__call__.__name__ != "checked_call"


def test_an_encoder_without_kernels_is_not_measured():
    assert input_spread(keras.layers.Flatten(), tf.TensorShape([8, 8, 3])) is None
