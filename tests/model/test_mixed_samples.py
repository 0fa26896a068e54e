"""`MixedSampleBarlowTwins`: its loss by hand, its draws, saving and wrong arguments."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.functional.loss import invariance_and_redundancy
from keras_bt.functional.mixed_samples import mixed_sample_penalty
from keras_bt.model.barlow_twins import BarlowTwins
from keras_bt.model.mixed_samples import MixedSampleBarlowTwins, MixedSamples


def standardized(z):
    z = z.astype("float64")
    z = z - z.mean(0)
    return z / np.sqrt((z**2).mean(0) + 1e-5)


def c(x, y):
    return x.T @ y / len(x)


@pytest.fixture
def mixing_model(tiny_model):
    def build(views="noisy", weight=3.0):
        tiny = tiny_model(views)
        return MixedSampleBarlowTwins(tiny.encoder, tiny.projector, tiny.views, weight)

    return build


@pytest.mark.slow
def test_train_step_matches_one_written_by_hand(mixing_model, rng):
    view_a, view_b = rng.uniform(size=(2, 16, 8, 8, 3)).astype("float32")
    model, twin = mixing_model(None), mixing_model(None)
    twin.set_weights(model.get_weights())
    model.compile(keras.optimizers.SGD(0.1), keras_bt.BarlowTwinsLoss(0.02, form="gram"))
    _, share, order = (each.numpy() for each in twin.mixed_samples(view_a, view_b))
    mixed = share * view_a + (1 - share) * view_b[order]
    assert 0 < share < 1 and (order != np.arange(16)).any()

    with tf.GradientTape() as tape:
        z_a, z_b, z_m = (
            twin.projector(twin.encoder(images, training=True), training=True)
            for images in (view_a, view_b, mixed)
        )
        terms = invariance_and_redundancy(z_a, z_b)
        penalty = mixed_sample_penalty(z_a, z_b, z_m, share, order, form="matrix")
        loss = terms[0] + 0.02 * terms[1] + 3.0 * 0.02 * penalty
    gradients = tape.gradient(loss, twin.trainable_variables)
    for variable, gradient in zip(twin.trainable_variables, gradients, strict=True):
        variable.assign_sub(0.1 * gradient)

    a, b, m = (standardized(z.numpy()) for z in (z_a, z_b, z_m))
    penalty = ((c(m, a) - share * c(a, a) - (1 - share) * c(b[order], a)) ** 2).sum()
    penalty += ((c(m, b) - share * c(a, b) - (1 - share) * c(b[order], b)) ** 2).sum()
    correlation = c(a, b)
    invariance = ((1 - np.diag(correlation)) ** 2).sum()
    redundancy = (correlation**2).sum() - (np.diag(correlation) ** 2).sum()

    logs = model.train_on_batch(view_a, view_b, return_dict=True)
    assert sorted(logs) == ["invariance", "loss", "mixed", "redundancy"]
    np.testing.assert_allclose(logs["mixed"], penalty, rtol=1e-3)
    expected = invariance + 0.02 * redundancy + 3.0 * 0.02 * penalty
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-4)
    for got, wanted in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_draws_are_the_same_in_eager_graph_and_xla():
    state, draws = [5, 2], {}
    for name in ("eager", "graph", "xla", "unknown"):
        mixing = MixedSamples()
        mixing.set_weights([np.array(state)])
        call = mixing
        if name != "eager":
            size = None if name == "unknown" else 6
            signature = [tf.TensorSpec([size, 2, 2, 3])] * 2
            call = tf.function(mixing.__call__, signature, jit_compile=name == "xla")
        views = tf.random.stateless_uniform([2, 6, 2, 2, 3], [1, 2])
        draws[name] = [[each.numpy() for each in call(*views)] for _ in range(3)]
        np.testing.assert_array_equal(mixing.seed_and_calls, [5, 5])
    for other in draws.values():
        for got, wanted in zip(other, draws["eager"], strict=True):
            np.testing.assert_allclose(got[0], wanted[0], atol=1e-6)
            np.testing.assert_array_equal(got[1], wanted[1])
            np.testing.assert_array_equal(got[2], wanted[2])
    shares = [share for _, share, _ in draws["eager"]]
    assert len(set(map(float, shares))) == 3


def test_share_is_uniform_and_order_is_a_permutation():
    mixing, view = MixedSamples(), tf.zeros([5, 1, 1, 3])
    draw = tf.function(lambda: mixing(view, view)[1:])
    shares, orders = zip(*(draw() for _ in range(400)), strict=True)
    np.testing.assert_allclose(np.histogram(shares, 4, (0, 1))[0], 100, atol=30)
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(5), (400, 1)))
    places = np.mean([np.array(orders)[:, 0] == place for place in range(5)], axis=1)
    np.testing.assert_allclose(places, 0.2, atol=0.07)


@pytest.mark.slow
def test_reloaded_model_continues_training(mixing_model, images, tmp_path):
    model = mixing_model()
    model.compile(keras.optimizers.Adam(0.01), hold_nonfinite=True)
    model.fit(images, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert reloaded.mixed_sample_weight == 3.0
    np.testing.assert_array_equal(reloaded.mixed_samples.seed_and_calls[1], 2)
    both = [
        m.fit(images, batch_size=8, shuffle=False, verbose=0).history for m in (model, reloaded)
    ]
    for name in ("loss", "mixed"):
        assert np.isfinite(both[0][name]).all()
        np.testing.assert_allclose(both[0][name], both[1][name], rtol=1e-5)


@pytest.mark.slow
def test_evaluate_logs_the_penalty(mixing_model, images):
    model = mixing_model()
    model.compile("sgd", run_eagerly=True)
    logs = model.evaluate(images, batch_size=8, verbose=0, return_dict=True)
    assert logs["mixed"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("weight", [0.0, 4.0])
def test_reads_configs_of_the_time_before_this_class(tiny_model, weight):
    """Every `BarlowTwins` had a weight of mixed samples then."""
    model = BarlowTwins.from_config({**tiny_model().get_config(), "mixed_sample_weight": weight})
    assert type(model) is (MixedSampleBarlowTwins if weight else BarlowTwins)
    assert model.get_config().get("mixed_sample_weight", 0.0) == weight


@pytest.mark.slow
@pytest.mark.parametrize("weight", [-1.0, 0.0, float("nan"), float("inf")])
def test_wrong_weights_raise(mixing_model, weight):
    with pytest.raises(ValueError, match=f"mixed_sample_weight must be finite.*got {weight}"):
        mixing_model(weight=weight)


def test_batches_in_parts_raise(tiny_model, mixing_model):
    tiny = tiny_model()
    with pytest.raises(ValueError, match="got 1 replicas and micro_batches=2"):
        MixedSampleBarlowTwins(tiny.encoder, tiny.projector, None, 1.0, micro_batches=2)
    with (
        tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope(),
        pytest.raises(ValueError, match="got 2 replicas and micro_batches=1"),
    ):
        mixing_model()
