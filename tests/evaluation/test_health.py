import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt import data
from keras_bt.evaluation.health import FIGURES, diagnose, embedding_figures, health_report

SOUND = {
    "representation_rank": 20.0,
    "embedding_rank": 30.0,
    "embedding_spread": 0.5,
    "dead_dimensions": 0.0,
    "mean_diagonal": 0.7,
    "mean_off_diagonal": 0.3,
    "loss_above_floor": 1.0,
    "loss": 80.0,
}
# Views without color, which takes most of the time to trace.
GRAY = {"flip_rate": 0.0, "jitter_rate": 0.0, "grayscale_rate": 0.0, "solarize_rate": 0.0}


def noisy_views():
    return keras.layers.GaussianNoise(0.1), keras.layers.GaussianNoise(0.1)


def reference_figures(z_a, z_b, epsilon):
    """The figures from all of c at once, in float64."""
    a, b = (
        (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + epsilon) for z in map(np.float64, (z_a, z_b))
    )
    c = a.T @ b / len(a)
    s = np.linalg.svd(z_a - z_a.mean(axis=0, dtype="float64"), compute_uv=False)
    share = s[s > 1e-6 * s[0]] / s.sum()
    spread = np.float64(z_a).std(axis=0)
    return {
        "embedding_rank": np.exp(-(share * np.log(share)).sum()),
        "embedding_spread": np.median(spread),
        "dead_dimensions": (spread < 1e-3 * np.median(spread)).sum(),
        "mean_diagonal": np.diag(c).mean(),
        "mean_off_diagonal": np.abs(c - np.diag(np.diag(c))).sum() / (len(c) * (len(c) - 1)),
    }


@pytest.mark.parametrize("shape", [(40, 12), (30, 1500)])
def test_figures_of_embeddings_against_numpy(rng, shape):
    """Also in blocks: c has more rows than are held at a time."""
    z_a = np.float32(rng.normal(size=shape) + 2.0)
    z_b = np.float32(0.8 * z_a + 0.5 * rng.normal(size=shape))
    z_a[:, 3] *= 1e-5
    got = embedding_figures(z_a, z_b, epsilon=0.1)
    wanted = reference_figures(z_a, z_b, epsilon=0.1)
    assert got == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_figures_of_embeddings_that_are_all_the_same(value):
    z = np.full((8, 5), value, "float32")
    figures = embedding_figures(z, z)
    assert figures["embedding_rank"] == 0.0 and figures["dead_dimensions"] == 5.0
    assert all(np.isfinite(figure) for figure in figures.values())


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("complete collapse", {"representation_rank": 1.02}),
        ("complete collapse", {"embedding_spread": 1e-5}),
        ("dimensional collapse", {"mean_off_diagonal": 0.8}),
        ("dead dimensions", {"dead_dimensions": 3.0}),
        ("views not matched", {"mean_diagonal": 0.01}),
        ("diverged", {"loss": 900.0}),
        ("not learning", {"loss": 250.0}),
    ],
)
def test_each_finding_by_its_name(name, figures):
    assert diagnose(SOUND, untrained_loss=260.0) == []
    (finding,) = diagnose({**SOUND, **figures}, untrained_loss=260.0)
    assert finding.name == name and str(finding).startswith(f"{name}: ")
    assert "sual cause" in finding.sentence and "\n" not in finding.sentence
    report = health_report({**SOUND, **figures}, untrained_loss=260.0)
    assert set(report) == {*FIGURES, "findings"} and report["findings"] == [str(finding)]


def test_the_loss_is_measured_from_its_floor():
    stuck = {**SOUND, "loss": 100.0}
    assert diagnose(stuck, untrained_loss=110.0, floor=60.0) == []
    assert [f.name for f in diagnose(stuck, untrained_loss=110.0)] == ["not learning"]
    assert diagnose(stuck, untrained_loss=110.0, floor=None) == []


def test_what_cannot_be_told_yet_is_not_said():
    unmatched = {**SOUND, "mean_diagonal": 0.01, "loss": 900.0}
    assert diagnose(unmatched, progress=0.4) == []
    assert health_report({"loss": 80.0}) is None


def fit(epochs, batch_norm, redundancy_weight):
    """A small network trained on the digits; returns its health and the logs of its epochs."""
    layers = keras.layers

    def between():
        return [layers.BatchNormalization(), layers.ReLU()] if batch_norm else [layers.ReLU()]

    encoder = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(16, 3), *between()]
        + [layers.Conv2D(32, 3), *between(), layers.GlobalAveragePooling2D()]
    )
    projector = keras.Sequential(
        [keras.Input((32,)), layers.Dense(64), *between(), layers.Dense(64, use_bias=False)]
    )
    views = keras_bt.small_image_views(8, crop_area=(0.5, 1.0), seed=0, **GRAY)
    model = keras_bt.BarlowTwins(encoder, projector, views)
    loss = keras_bt.BarlowTwinsLoss(redundancy_weight)
    model.compile(keras.optimizers.Adam(0.01), loss, hold_nonfinite=True)
    train, seen = data.digits().train, []
    health = keras_bt.EmbeddingHealth(train.at_most(300).batches(256, 8), batch_size=128)
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs))
    model.fit(
        train.shuffled_batches(128, 8, seed=0),
        epochs=epochs,
        steps_per_epoch=11,
        callbacks=[health, keep],
        verbose=0,
    )
    return health, seen


@pytest.mark.parametrize("batch_norm", [True, False])
def test_no_alarm_in_a_sound_training(batch_norm, caplog):
    health, seen = fit(8, batch_norm, redundancy_weight=0.0051)
    assert health.findings == [] and not caplog.records
    assert all(set(FIGURES) < set(logs) for logs in seen)
    assert seen[-1]["mean_diagonal"] > seen[0]["mean_diagonal"] + 0.1
    assert health.untrained_loss > seen[0]["loss"]


def test_an_alarm_by_name_in_a_training_made_to_collapse(caplog):
    health, seen = fit(10, batch_norm=False, redundancy_weight=0.0)
    assert [finding.name for finding in health.findings] == ["dimensional collapse"]
    assert [record.message for record in caplog.records] == [str(health.findings[0])]
    assert seen[-1]["embedding_rank"] < 0.1 * 64


def test_training_is_the_same_to_the_bit_without_it(tiny_model, images):
    def trained(callbacks):
        keras.utils.set_random_seed(0)
        views = keras_bt.BarlowTwinsView(8, seed=0, **GRAY), keras.layers.Dropout(0.2)
        model = tiny_model(views)
        model.compile("sgd")
        model.fit(images, batch_size=8, epochs=3, callbacks=callbacks, verbose=0)
        return model

    batches = tf.data.Dataset.from_tensor_slices(images).batch(8)
    health = keras_bt.EmbeddingHealth(batches, batch_size=8, every_epochs=2)
    looked_at, alone = trained([health]), trained([])
    for got, wanted in zip(looked_at.variables, alone.variables, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_an_encoder_that_gives_all_images_the_same(tiny_model, images):
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


def test_the_share_of_the_loss_above_the_floor(tiny_model, images):
    model = tiny_model(noisy_views())
    model.compile("sgd", keras_bt.BarlowTwinsLoss(0.5))
    health = keras_bt.EmbeddingHealth(tf.data.Dataset.from_tensors(images), batch_size=4)
    logs = model.fit(images, batch_size=4, callbacks=[health], verbose=0).history
    floor = keras_bt.loss_floor(4, dim=6, redundancy_weight=0.5)
    assert floor > 0
    assert logs["loss_above_floor"][0] == pytest.approx(1.0 - floor / logs["loss"][0])


def test_it_needs_views_and_finite_embeddings(tiny_model, images):
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
