import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bt.functional.xla import compiled_by_xla
from keras_bt.placement import PLACEMENTS


@pytest.fixture
def trained(tiny_model, images):
    """Weights and states of a tiny model after two fits that go through the images in turn."""

    def train(placement, steps=(3, 2)):
        keras.utils.set_random_seed(0)
        model = tiny_model()
        model.compile(keras.optimizers.SGD(0.01), hold_nonfinite=True, view_placement=placement)
        batches = tf.data.Dataset.from_tensor_slices({"image": images}).batch(4).repeat()
        done = 0
        for count in steps:
            model.fit(batches.skip(done), steps_per_epoch=count, verbose=0)
            done += count
        return model

    return train


@pytest.mark.parametrize("placement", PLACEMENTS[1:])
def test_the_training_is_that_of_views_in_the_step(trained, placement):
    expected, got = trained("step"), trained(placement)
    for weight, value in zip(expected.weights, got.weights, strict=True):
        np.testing.assert_allclose(value, weight, rtol=1e-3, atol=1e-4, err_msg=weight.path)
    assert [int(view.seed_and_calls[1]) for view in got.views] == [5, 5]


def test_views_ahead_are_not_counted_before_they_are_trained_on(trained):
    in_one, in_parts = trained("data", steps=(5,)), trained("data", steps=(1, 1, 3))
    for weight, value in zip(in_one.weights, in_parts.weights, strict=True):
        np.testing.assert_allclose(value, weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("placement", "expected"), [("step", False), ("compiled", True)])
def test_what_is_compiled(tiny_model, images, placement, expected):
    surroundings = []

    class Probe(keras.layers.Layer):
        def call(self, images):
            surroundings.append(compiled_by_xla())
            return images + tf.random.stateless_normal(tf.shape(images), [0, 0], stddev=1e-3)

    model = tiny_model([Probe(), Probe()])
    model.compile("sgd", view_placement=placement)
    model.fit(images, batch_size=8, verbose=0)
    assert set(surroundings) == {expected}


def test_placement_survives_a_keras_file(tiny_model, images, tmp_path):
    model = tiny_model()
    model.compile("sgd", view_placement="compiled")
    model.fit(images, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").view_placement == "compiled"


def test_wrong_places_are_named(tiny_model, images):
    with pytest.raises(ValueError, match="view_placement must be one of .*, got 'gpu'"):
        tiny_model().compile("sgd", view_placement="gpu")
    with pytest.raises(ValueError, match="'data' needs views and a single replica, got none"):
        tiny_model(views=None).compile("sgd", view_placement="data")
    model = tiny_model()
    model.compile("sgd", view_placement="data")
    with pytest.raises(TypeError, match=r"takes a tf.data.Dataset, got ndarray"):
        model.fit(images, batch_size=8)
