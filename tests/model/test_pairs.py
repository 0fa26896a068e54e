"""`BarlowTwins` on ready-made pairs that are not images: two noisy copies of signals."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.model.mixed_samples import MixedSampleBarlowTwins


@pytest.fixture
def signals(rng):
    """Two noisy copies of 16 signals [time, channels], far outside [0, 1]."""
    phases = rng.uniform(0, 2 * np.pi, (16, 1, 2))
    clean = 50 * np.sin(np.linspace(0, 6, 32)[None, :, None] + phases) - 20
    return tuple((clean + rng.normal(0, 5, (2, 16, 32, 2))).astype("float32"))


@pytest.fixture
def signal_model():
    """A model with a convolution over time, not compiled."""

    def build(micro_batches=1, cls=keras_bt.BarlowTwins, **options):
        encoder = keras.Sequential(
            [
                keras.Input((None, 2)),
                keras.layers.Conv1D(8, 5, strides=2),
                keras.layers.BatchNormalization(),
                keras.layers.Activation("gelu"),
                keras.layers.GlobalAveragePooling1D(),
            ]
        )
        projector = keras_bt.projector(8, (16, 6))
        return cls(encoder, projector, None, micro_batches=micro_batches, **options)

    return build


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, {"jit_compile": True}, {"micro_batches": 2}],
    ids=["graph", "xla", "micro_batches"],
)
def test_fit_on_signals_lowers_the_loss(signal_model, signals, options):
    options = dict(options)
    model = signal_model(options.pop("micro_batches", 1))
    model.compile(keras.optimizers.Adam(0.02), hold_nonfinite=True, **options)
    history = model.fit(*signals, batch_size=8, epochs=12, verbose=0).history
    assert np.mean(history["loss"][-3:]) < 0.8 * history["loss"][0]


def test_signals_reach_the_encoder_unchanged(signal_model, signals):
    model = signal_model()
    expected = model.encoder(signals[0], training=False)
    assert np.abs(expected).max() > 1  # not scaled to [0, 1]
    np.testing.assert_allclose(model.predict(signals[0], verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(model(signals[0]), expected, atol=1e-5)


@pytest.mark.slow
def test_evaluate_does_not_depend_on_micro_batches(signal_model, signals):
    """The last batch, of 5 signals, is not a multiple of the micro-batches."""
    whole, parts = signal_model(1), signal_model(2)
    parts.set_weights(whole.get_weights())
    logs = []
    for model in (whole, parts):
        model.compile("sgd")
        cut = [signal[:13] for signal in signals]
        logs.append(model.evaluate(*cut, batch_size=8, verbose=0, return_dict=True))
    for name, value in logs[0].items():
        np.testing.assert_allclose(logs[1][name], value, rtol=1e-4)


@pytest.mark.slow
def test_reloaded_model_continues_training(signal_model, signals, tmp_path):
    model = signal_model()
    model.compile(keras.optimizers.Adam(0.01))
    batches = tf.data.Dataset.from_tensor_slices(signals).batch(8)
    model.fit(batches, verbose=0)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    losses = [each.fit(batches, verbose=0).history["loss"] for each in (model, reloaded)]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_trains_on_tables(rng):
    table = rng.normal(0, 100, (2, 16, 7)).astype("float32")
    encoder = keras.Sequential([keras.Input((7,)), keras.layers.Dense(5)])
    model = keras_bt.BarlowTwins(encoder, keras_bt.projector(5, (4,)), None)
    model.compile("sgd", run_eagerly=True)
    assert np.isfinite(model.fit(*table, verbose=0).history["loss"]).all()


def test_signals_can_be_mixed(signal_model, signals):
    model = signal_model(cls=MixedSampleBarlowTwins, mixed_sample_weight=1.0)
    model.compile("sgd", run_eagerly=True)
    assert model.fit(*signals, verbose=0).history["mixed"][0] > 0


@pytest.mark.slow
def test_pairs_of_uint8_images_are_scaled(tiny_model, images):
    losses = []
    for scale in (1, np.float32(255)):
        keras.utils.set_random_seed(0)
        model = tiny_model(None)
        model.compile("sgd")
        view_a, view_b = images / scale if scale > 1 else images, images[::-1] / scale
        view_b = view_b.astype(view_a.dtype)
        losses.append(model.fit(view_a, view_b, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("view", "message"),
    [
        (np.full((4, 8, 8, 3), 200.0, "float32"), r"in \[0, 1\].*\[200, 200\]"),
        (np.array([[0.0, 1.0], [np.nan, 2.0]], "float32"), "finite values, got NaN or infinity"),
        (np.array([[0.0, 1.0], [-np.inf, 2.0]], "float32"), "finite values, got NaN or infinity"),
        (np.zeros(4, "float32"), r"batches \[batch, ...\], got \(4,\)"),
        (np.zeros((1, 8), "float32"), "at least 2 images, got a batch of 1"),
    ],
    ids=["image_range", "nan", "infinity", "rank_1", "batch_of_1"],
)
def test_wrong_pairs_raise_before_training(tiny_model, view, message):
    model = tiny_model(None)
    model.compile("sgd")
    fine = np.zeros_like(view)
    for pair in ((view, fine), (fine, view)):
        with pytest.raises(ValueError, match=message):
            model.fit(*pair, verbose=0)
