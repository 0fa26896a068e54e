"""On one replica; tests/distributed has several."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.batch_norm import global_moments, is_synchronised
from keras_bt.functional.correlation import ONE_REPLICA


def small_model():
    layers = keras.layers
    return keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.BatchNormalization()])


def test_moments_and_gradient_against_numpy(rng):
    x = tf.constant(rng.normal(5, 2, size=(6, 4, 4, 3)))
    with tf.GradientTape() as tape:
        tape.watch(x)
        mean, variance = global_moments(x, [0, 1, 2], ONE_REPLICA)
        value = tf.reduce_sum(mean * [1, 2, 3] + tf.sqrt(variance))
    np.testing.assert_allclose(mean, x.numpy().mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(variance, x.numpy().var((0, 1, 2)), rtol=1e-12)
    gradient = (np.array([1, 2, 3]) + (x - mean) / np.sqrt(variance)) / (6 * 4 * 4)
    np.testing.assert_allclose(tape.gradient(value, x), gradient, rtol=1e-10)


def test_a_large_mean_does_not_cancel_the_variance(rng):
    x = rng.normal(1000, 1, size=(64, 3)).astype("float32")
    _, variance = global_moments(tf.constant(x), [0], ONE_REPLICA)
    np.testing.assert_allclose(variance, x.astype("float64").var(0), rtol=1e-5)


def test_nested_models_are_converted_with_their_weights(rng):
    inner = small_model()
    model = keras.Sequential([keras.Input((3,)), inner, keras.layers.BatchNormalization()])
    x = rng.normal(size=(8, 3)).astype("float32")
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((8, 4)), verbose=0)
    before, names = model.predict(x, verbose=0), [weight.path for weight in model.weights]
    assert keras_bt.sync_batch_norm(model) is model
    for layer in (inner.layers[1], model.layers[1]):
        assert type(layer) is keras_bt.SyncBatchNormalization
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)
    assert [weight.path for weight in model.weights] == names


def test_on_one_replica_it_trains_as_before(rng):
    x = rng.normal(size=(8, 3)).astype("float32")
    results = []
    for convert in (lambda model: model, keras_bt.sync_batch_norm):
        keras.utils.set_random_seed(3)
        model = convert(small_model())
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(x, np.ones((8, 4)), epochs=3, verbose=0)
        results.append(model.get_weights())
    for plain, converted in zip(*results, strict=True):
        np.testing.assert_array_equal(plain, converted)


def test_life_in_a_keras_file(tmp_path, rng):
    model = keras_bt.sync_batch_norm(small_model())
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(reloaded.layers[1]) is keras_bt.SyncBatchNormalization
    x = rng.normal(size=(8, 3)).astype("float32")
    np.testing.assert_array_equal(reloaded.predict(x, verbose=0), model.predict(x, verbose=0))


def test_other_peoples_kinds_are_told_to_synchronise():
    class Own(keras.layers.BatchNormalization):
        pass

    model = keras.Sequential([keras.Input((3,)), Own()])
    assert not is_synchronised(model.layers[0])
    keras_bt.sync_batch_norm(model)
    assert type(model.layers[0]) is Own and model.layers[0].synchronized


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_encoders_and_the_whole_model_are_converted(name):
    encoder = getattr(keras_bt, name)((8, 8, 3), width=1, stem="small")
    model = keras_bt.BarlowTwins(encoder, keras_bt.projector(encoder.output_shape[1], (4, 4)), None)
    keras_bt.sync_batch_norm(model)
    norms = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(norms) > 15 and all(map(is_synchronised, norms))
