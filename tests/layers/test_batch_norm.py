"""Batch normalization on one replica; tests/distribution/processes covers several."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt._support.compat import flatten_layers
from keras_bt.functional.replicas import ONE_REPLICA
from keras_bt.layers.batch_norm import global_moments, is_synchronized


def small_model():
    layers = keras.layers
    return keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.BatchNormalization()])


def test_moments_and_gradient_match_numpy(rng):
    x = tf.constant(rng.normal(5, 2, size=(6, 4, 4, 3)))
    with tf.GradientTape() as tape:
        tape.watch(x)
        mean, variance = global_moments(x, [0, 1, 2], ONE_REPLICA)
        value = tf.reduce_sum(mean * [1, 2, 3] + tf.sqrt(variance))
    np.testing.assert_allclose(mean, x.numpy().mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(variance, x.numpy().var((0, 1, 2)), rtol=1e-12)
    gradient = (np.array([1, 2, 3]) + (x - mean) / np.sqrt(variance)) / (6 * 4 * 4)
    np.testing.assert_allclose(tape.gradient(value, x), gradient, rtol=1e-10)


def test_large_mean_does_not_cancel_the_variance(rng):
    x = rng.normal(1000, 1, size=(64, 3)).astype("float32")
    _, variance = global_moments(tf.constant(x), [0], ONE_REPLICA)
    np.testing.assert_allclose(variance, x.astype("float64").var(0), rtol=1e-5)


def trained_once(layer, x, d_y, jit_compile=False):
    """Output, gradients and statistics of a step, and the types of its operations."""
    layer.build(x.shape)
    for weight, value in zip(layer.trainable_weights, (1.5, -0.5), strict=False):
        weight.assign(value * np.arange(1.0, 1.0 + x.shape[-1]))

    @tf.function(jit_compile=jit_compile)
    def step():
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        gradients = tape.gradient(y, [x, *layer.trainable_variables], output_gradients=d_y)
        return [y, *gradients]

    operations = {
        operation.type for operation in step.get_concrete_function().graph.get_operations()
    }
    return [*step(), *map(tf.convert_to_tensor, layer.non_trainable_variables)], operations


@pytest.mark.parametrize("shape", [(6, 3), (4, 5, 3), (4, 5, 6, 3), (2, 3, 2, 2, 3)], ids=len)
@pytest.mark.parametrize("parts", [{}, {"scale": False}, {"center": False}], ids=str)
def test_fused_layer_matches_keras_layer(rng, shape, parts):
    x, d_y = (tf.constant(rng.normal(2, 3, shape), tf.float32) for _ in range(2))
    (expected, _), (got, operations) = (
        trained_once(layer(momentum=0.9, **parts), x, d_y)
        for layer in (keras.layers.BatchNormalization, keras_bt.SyncBatchNormalization)
    )
    assert {"FusedBatchNormV3", "FusedBatchNormGradV3"} <= operations
    for value, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-5, atol=2e-5)


def test_inference_uses_the_moving_statistics(rng):
    layer = keras_bt.SyncBatchNormalization(momentum=0.5)
    x = tf.constant(rng.normal(2, 3, (8, 4, 4, 3)), tf.float32)
    layer(x, training=True)
    plain = keras.layers.BatchNormalization()
    plain.build(x.shape)
    plain.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-5, atol=1e-6)
    layer.trainable = False
    before = np.copy(layer.moving_mean)
    np.testing.assert_array_equal(layer(x, training=True), layer(x))
    np.testing.assert_array_equal(layer.moving_mean, before)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_other_precisions_match_keras_layer(rng, policy):
    dtype = keras.dtype_policies.get(policy).compute_dtype
    x, d_y = (tf.cast(rng.normal(2, 3, (8, 4, 4, 3)), dtype) for _ in range(2))
    (expected, _), (got, _) = (
        trained_once(layer(momentum=0.9, dtype=policy), x, d_y)
        for layer in (keras.layers.BatchNormalization, keras_bt.SyncBatchNormalization)
    )
    tolerance = {"bfloat16": 3e-2, "float16": 4e-3, "float64": 1e-12}[dtype]
    for value, other in zip(got, expected, strict=True):
        assert value.dtype == other.dtype
        scale = np.abs(np.float64(other)).max()
        np.testing.assert_allclose(np.float64(value), np.float64(other), atol=tolerance * scale)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_large_means_keep_the_digits_of_the_variance(rng, jit_compile):
    x = rng.normal(300, 1, (64, 4, 4, 2)).astype("float32")
    layer = keras_bt.SyncBatchNormalization(momentum=0.0)
    (y, *_), _ = trained_once(layer, tf.constant(x), tf.ones_like(x), jit_compile)
    variance = np.float64(x).var((0, 1, 2))
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-4)
    np.testing.assert_allclose(np.var(y, (0, 1, 2)), [1.5**2, 3.0**2], rtol=2e-3)


@pytest.mark.slow
def test_converts_nested_models_and_keeps_their_weights(rng):
    inner = small_model()
    model = keras.Sequential([keras.Input((3,)), inner, keras.layers.BatchNormalization()])
    x = rng.normal(size=(8, 3)).astype("float32")
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((8, 4)), verbose=0)
    before, names = model.predict(x, verbose=0), [weight.path for weight in model.weights]
    assert keras_bt.sync_batch_norm(model) is model
    for layer in (inner.layers[1], model.layers[1]):
        assert isinstance(layer, keras_bt.SyncBatchNormalization)
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)
    assert [weight.path for weight in model.weights] == names


@pytest.mark.slow
def test_converted_model_trains_the_same_on_one_replica(rng):
    x = rng.normal(size=(8, 3)).astype("float32")
    results = []
    for convert in (lambda model: model, keras_bt.sync_batch_norm):
        keras.utils.set_random_seed(3)
        model = convert(small_model())
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(x, np.ones((8, 4)), epochs=3, verbose=0)
        results.append(model.get_weights())
    for plain, converted in zip(*results, strict=True):
        np.testing.assert_allclose(plain, converted, rtol=2e-5, atol=1e-7)


def test_reloads_from_a_keras_file(tmp_path, rng):
    model = keras_bt.sync_batch_norm(small_model())
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(reloaded.layers[1], keras_bt.SyncBatchNormalization)
    x = rng.normal(size=(8, 3)).astype("float32")
    np.testing.assert_array_equal(reloaded.predict(x, verbose=0), model.predict(x, verbose=0))


def test_synchronizes_subclasses_without_changing_their_class():
    class Custom(keras.layers.BatchNormalization):
        pass

    model = keras.Sequential([keras.Input((3,)), Custom()])
    assert not is_synchronized(model.layers[0])
    keras_bt.sync_batch_norm(model)
    assert type(model.layers[0]) is Custom and model.layers[0].synchronized


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_converts_encoders_and_the_whole_model(name):
    encoder = getattr(keras_bt, name)((8, 8, 3), width=1, stem="small")
    model = keras_bt.BarlowTwins(encoder, keras_bt.projector(encoder.output_shape[1], (4, 4)), None)
    keras_bt.sync_batch_norm(model)
    norms = [
        layer
        for layer in flatten_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(norms) > 15 and all(map(is_synchronized, norms))
