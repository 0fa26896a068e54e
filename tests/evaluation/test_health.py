import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt import data
from keras_bt.evaluation.diagnosis import HEALTH_METRICS
from keras_bt.evaluation.health import embedding_metrics

# No change of color: tracing it takes most of the time of a small test.
WITHOUT_COLOR = {"flip_rate": 0.0, "jitter_rate": 0.0, "grayscale_rate": 0.0, "solarize_rate": 0.0}


def noisy_views():
    return keras.layers.GaussianNoise(0.1), keras.layers.GaussianNoise(0.1)


def reference_metrics(z_a, z_b, epsilon):
    """The metrics from the whole of c, in float64."""
    a, b = (
        (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + epsilon) for z in map(np.float64, (z_a, z_b))
    )
    c = a.T @ b / len(a)
    s = np.linalg.svd(z_a - z_a.mean(axis=0, dtype="float64"), compute_uv=False)
    p = s[s > 1e-6 * s[0]] / s.sum()
    spread = np.float64(z_a).std(axis=0)
    return {
        "embedding_rank": np.exp(-(p * np.log(p)).sum()),
        "embedding_spread": np.median(spread),
        "dead_dimensions": (spread < 1e-3 * np.median(spread)).sum(),
        "mean_diagonal": np.diag(c).mean(),
        "mean_off_diagonal": np.abs(c - np.diag(np.diag(c))).sum() / (len(c) * (len(c) - 1)),
    }


@pytest.mark.parametrize("shape", [(40, 12), (30, 1500)])
def test_metrics_match_numpy(rng, shape):
    """The second shape has more rows of c than one block."""
    z_a = np.float32(rng.normal(size=shape) + 2.0)
    z_b = np.float32(0.8 * z_a + 0.5 * rng.normal(size=shape))
    z_a[:, 3] *= 1e-5
    got = embedding_metrics(z_a, z_b, epsilon=0.1)
    wanted = reference_metrics(z_a, z_b, epsilon=0.1)
    assert got == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_equal_embeddings_give_finite_metrics(value):
    z = np.full((8, 5), value, "float32")
    metrics = embedding_metrics(z, z)
    assert metrics["embedding_rank"] == 0.0 and metrics["dead_dimensions"] == 5.0
    assert all(np.isfinite(value) for value in metrics.values())


def fit(epochs, batch_norm, redundancy_weight):
    """Trains a small network on digits; returns the callback and the logs of the epochs."""
    layers = keras.layers

    def activation():
        return [layers.BatchNormalization(), layers.ReLU()] if batch_norm else [layers.ReLU()]

    encoder = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(16, 3), *activation()]
        + [layers.Conv2D(32, 3), *activation(), layers.GlobalAveragePooling2D()]
    )
    projector = keras.Sequential(
        [keras.Input((32,)), layers.Dense(64), *activation(), layers.Dense(64, use_bias=False)]
    )
    views = keras_bt.small_image_views(8, crop_area=(0.5, 1.0), seed=0, **WITHOUT_COLOR)
    model = keras_bt.BarlowTwins(encoder, projector, views)
    loss = keras_bt.BarlowTwinsLoss(redundancy_weight)
    model.compile(keras.optimizers.Adam(0.01), loss, hold_nonfinite=True)
    train, all_logs = data.digits().train, []
    health = keras_bt.EmbeddingHealth(train.at_most(300).batches(256, 8), batch_size=128)
    record = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: all_logs.append(logs))
    model.fit(
        train.shuffled_batches(128, 8, seed=0),
        epochs=epochs,
        steps_per_epoch=11,
        callbacks=[health, record],
        verbose=0,
    )
    return health, all_logs


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", [True, False])
def test_sound_training_has_no_findings(batch_norm, caplog):
    health, all_logs = fit(8, batch_norm, redundancy_weight=0.0051)
    assert health.findings == [] and not caplog.records
    assert all(set(HEALTH_METRICS) < set(logs) for logs in all_logs)
    assert all_logs[-1]["mean_diagonal"] > all_logs[0]["mean_diagonal"] + 0.1
    assert health.untrained_loss > all_logs[0]["loss"]


@pytest.mark.slow
def test_warns_once_about_a_collapsed_training(caplog):
    health, all_logs = fit(10, batch_norm=False, redundancy_weight=0.0)
    assert [finding.name for finding in health.findings] == ["dimensional collapse"]
    assert [record.message for record in caplog.records] == [str(health.findings[0])]
    assert all_logs[-1]["embedding_rank"] < 0.1 * 64


@pytest.mark.slow
def test_training_gives_the_same_weights_without_the_callback(tiny_model, images):
    def train(callbacks):
        keras.utils.set_random_seed(0)
        views = keras_bt.BarlowTwinsView(8, seed=0, **WITHOUT_COLOR), keras.layers.Dropout(0.2)
        model = tiny_model(views)
        model.compile("sgd")
        model.fit(images, batch_size=8, epochs=3, callbacks=callbacks, verbose=0)
        return model

    batches = tf.data.Dataset.from_tensor_slices(images).batch(8)
    health = keras_bt.EmbeddingHealth(batches, batch_size=8, every_epochs=2)
    monitored, alone = train([health]), train([])
    for got, wanted in zip(monitored.variables, alone.variables, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.slow
def test_constant_encoder_gives_findings(tiny_model, images):
    model = tiny_model(noisy_views())
    batch_norm = model.encoder.layers[1]
    batch_norm.gamma.assign(keras.ops.zeros_like(batch_norm.gamma))
    model.encoder.trainable = False
    model.compile("sgd")
    health = keras_bt.EmbeddingHealth(tf.data.Dataset.from_tensors(images), batch_size=8)
    model.fit(images, batch_size=8, callbacks=[health], verbose=0)
    assert {finding.name for finding in health.findings} == {
        "complete collapse",
        "dead dimensions",
        "views not matched",
        "not learning",
    }


@pytest.mark.slow
def test_logs_the_fraction_of_the_loss_above_its_floor(tiny_model, images):
    model = tiny_model(noisy_views())
    model.compile("sgd", keras_bt.BarlowTwinsLoss(0.5))
    health = keras_bt.EmbeddingHealth(tf.data.Dataset.from_tensors(images), batch_size=4)
    logs = model.fit(images, batch_size=4, callbacks=[health], verbose=0).history
    floor = keras_bt.loss_floor(4, dim=6, redundancy_weight=0.5)
    assert floor > 0
    assert logs["loss_above_floor"][0] == pytest.approx(1.0 - floor / logs["loss"][0])


@pytest.mark.slow
def test_rejects_models_without_views_and_embeddings_that_are_not_finite(tiny_model, images):
    batches = tf.data.Dataset.from_tensors(images)
    health = keras_bt.EmbeddingHealth(batches, batch_size=8)
    model = tiny_model(views=None)
    model.compile("sgd")
    with pytest.raises(ValueError, match="needs a model with views"):
        model.fit(tf.data.Dataset.zip(batches, batches), callbacks=[health], verbose=0)
    model = tiny_model(noisy_views())
    model.compile(keras.optimizers.SGD(1e38))
    with pytest.raises(FloatingPointError, match="embeddings after epoch 1 are not finite"):
        model.fit(images, batch_size=8, callbacks=[health], verbose=0)


@pytest.mark.slow
def test_the_views_of_a_model_are_not_compiled_again(tiny_model, images):
    outputs = []
    for placement in ("step", "compiled"):
        keras.utils.set_random_seed(0)
        model = tiny_model(keras_bt.small_image_views(8, seed=0, **WITHOUT_COLOR))
        model.compile("sgd", view_placement=placement)
        health = keras_bt.EmbeddingHealth(tf.data.Dataset.from_tensors(images), batch_size=8)
        health.set_model(model)
        health.on_train_begin()
        outputs.append(health.compute_outputs())
    assert model._view_source._augment.experimental_get_tracing_count() == 0
    for got, wanted in zip(*outputs, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
