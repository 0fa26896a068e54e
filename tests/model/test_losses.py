import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.functional import invariance_and_redundancy


def test_loss_is_the_weighted_sum_of_its_terms(rng):
    z_a, z_b = rng.normal(size=(2, 16, 8)).astype("float32")
    loss = keras_bt.BarlowTwinsLoss(redundancy_weight=0.3)
    invariance, redundancy = loss.terms(z_a, z_b)
    np.testing.assert_allclose(loss(z_a, z_b), invariance + 0.3 * redundancy, rtol=1e-6)


def test_options_change_the_terms(rng):
    z_a, z_b = 1 + rng.normal(size=(2, 16, 8)).astype("float32")
    options = {"epsilon": 0.5, "centered": False, "form": "gram", "redundancy_target": -1.0}
    terms = keras_bt.BarlowTwinsLoss(**options).terms(z_a, z_b)
    np.testing.assert_allclose(terms, invariance_and_redundancy(z_a, z_b, **options), rtol=1e-6)
    for name, default in (("epsilon", 1e-5), ("centered", True), ("redundancy_target", 0)):
        other = keras_bt.BarlowTwinsLoss(**{**options, name: default}).terms(z_a, z_b)
        assert not np.allclose(terms, other, rtol=1e-3)


def test_log_determinant_is_an_option_that_is_saved(rng):
    z_a, z_b = 1 + rng.normal(size=(2, 16, 8)).astype("float32")
    loss = keras_bt.BarlowTwinsLoss(redundancy_weight=0.7, redundancy="log_determinant")
    assert keras_bt.BarlowTwinsLoss(redundancy="log_determinant").redundancy_weight == 1.0
    assert keras_bt.BarlowTwinsLoss().redundancy_weight == 0.0051
    reloaded = keras_bt.BarlowTwinsLoss.from_config(loss.get_config())
    terms = invariance_and_redundancy(z_a, z_b, redundancy="log_determinant")
    np.testing.assert_allclose(reloaded.terms(z_a, z_b), terms, rtol=1e-6)
    np.testing.assert_allclose(reloaded(z_a, z_b), terms[0] + 0.7 * terms[1], rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_computes_in_float32_under_mixed_precision(rng, policy):
    z_a, z_b = rng.normal(size=(2, 64, 32)).astype("float32")
    half = "bfloat16" if policy == "mixed_bfloat16" else "float16"
    z_a, z_b = tf.cast(z_a, half), tf.cast(z_b, half)
    expected = keras_bt.BarlowTwinsLoss()(tf.cast(z_a, tf.float32), tf.cast(z_b, tf.float32))
    keras.config.set_dtype_policy(policy)
    try:
        loss = keras_bt.BarlowTwinsLoss()(z_a, z_b)
    finally:
        keras.config.set_dtype_policy("float32")
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.slow
def test_as_the_loss_of_an_ordinary_keras_model(rng):
    """z_a in the place of the targets: a model that learns to follow given embeddings."""
    z_a = rng.normal(size=(32, 4)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, use_bias=False)])
    model.compile(keras.optimizers.Adam(0.05), loss=keras_bt.BarlowTwinsLoss(0.01))
    mixed = z_a @ rng.normal(size=(4, 4)).astype("float32")
    history = model.fit(mixed, z_a, batch_size=32, epochs=150, verbose=0).history["loss"]
    assert history[-1] < 0.1 * history[0]
    logged = model.evaluate(mixed, z_a, batch_size=32, verbose=0)
    expected = keras_bt.BarlowTwinsLoss(0.01)(z_a, model(mixed))
    np.testing.assert_allclose(logged, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"redundancy_weight": -1}, "redundancy_weight must be at least 0, got -1"),
        ({"epsilon": 0}, "epsilon must be above 0, got 0"),
        ({"redundancy_weight": float("nan")}, "redundancy_weight must be at least 0, got nan"),
        ({"epsilon": float("nan")}, "epsilon must be above 0, got nan"),
        ({"dtype": "float16"}, "dtype must be 'float32' or 'float64', got 'float16'"),
        ({"form": "fast"}, "form must be one of .*'fast'"),
        ({"redundancy_target": -2}, r"redundancy_target must lie in \[-1, 1\], got -2"),
        ({"redundancy_target": float("nan")}, "redundancy_target must lie .*nan"),
        ({"redundancy": "entropy"}, "redundancy must be one of .*'entropy'"),
        ({"redundancy": "log_determinant", "form": "gram"}, "has no form 'gram'"),
    ],
)
def test_wrong_arguments_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        keras_bt.BarlowTwinsLoss(**arguments)


def test_batch_of_one_raises():
    with pytest.raises(ValueError, match="at least 2 images, got a batch of 1"):
        keras_bt.BarlowTwinsLoss()(tf.ones([1, 4]), tf.ones([1, 4]))


def test_form_chosen_by_auto_is_logged_once(caplog):
    caplog.set_level("INFO", logger="keras_bt")
    for _ in range(2):
        keras_bt.BarlowTwinsLoss()(tf.ones([6, 31]), tf.ones([6, 31]))
        keras_bt.BarlowTwinsLoss(form="matrix")(tf.ones([6, 32]), tf.ones([6, 32]))
    (record,) = caplog.records
    assert "gram form (images per replica: 6, replicas: 1, dimensions: 31)" in record.getMessage()


def test_floor_follows_the_settings_and_is_none_where_unknown():
    for centered in (True, False):
        floor = keras_bt.loss_floor(32, 64, 0.01, centered=centered)
        assert keras_bt.BarlowTwinsLoss(0.01, centered=centered).floor(32, 64) == floor
    assert keras_bt.BarlowTwinsLoss(2.0).floor(32, 64) == 64 - 31
    assert keras_bt.BarlowTwinsLoss(redundancy_target=-1.0).floor(32, 64) is None
    log_determinant = keras_bt.BarlowTwinsLoss(1.0, redundancy="log_determinant")
    assert log_determinant.floor(32, 31) == 0.0
    assert log_determinant.floor(32, 32) is None
