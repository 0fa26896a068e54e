"""Steps with NaN or infinity: held without a trace, reported and located."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.model.nonfinite import first_nonfinite
from keras_bt.model.step_guard import StepGuard, apply_if

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("terms", "gradient", "named"),
    [
        ([NAN, 1.0, 0.0], 1.0, "invariance term"),
        ([1.0, INFINITY, 0.0], NAN, "redundancy term"),
        ([1.0, 1.0, -INFINITY], 1.0, "regularization"),
        ([1.0, 1.0, 0.0], NAN, "gradient"),
    ],
)
def test_guard_names_the_first_nonfinite_term_and_holds_later_steps(terms, gradient, named):
    guard = StepGuard()
    for _ in range(3):
        assert guard.check([1.0, 1.0, 0.0], [tf.constant([0.0, 1.0]), None])
    assert guard.nonfinite_term() is None
    assert not guard.check(terms, [None, tf.constant([0.0, gradient])])
    assert not guard.check([1.0, 1.0, 0.0], [])
    assert not guard.check([NAN, NAN, NAN], [])
    assert (guard.finite_steps(), guard.nonfinite_term()) == (3, named)
    guard.reset()
    assert (guard.finite_steps(), guard.nonfinite_term()) == (0, None)


def test_guard_can_accept_nonfinite_gradients():
    guard = StepGuard()
    for matter, passes in ((tf.constant(False), True), (tf.constant(True), False)):
        found = guard.check([1.0, 1.0, 0.0], [tf.constant(NAN)], matter)
        assert bool(found) == passes


@pytest.mark.slow
def test_fit_warns_of_held_steps(bursting_model, images):
    model, layer = bursting_model
    model.compile("adam", hold_nonfinite=True)
    layer.bursting.assign(1.0)
    message = (
        "From step 1 of this fit on the weights did not change: the invariance term was not finite"
    )
    with pytest.warns(UserWarning, match=message):
        model.fit(images, batch_size=8, verbose=0)
    layer.bursting.assign(0.0)
    assert model.fit(images, batch_size=8, verbose=0).history["loss"][0] > 0


def test_apply_if_applies_or_does_nothing():
    weight, optimizer = keras.Variable([1.0, 2.0]), keras.optimizers.Adam(0.5)
    optimizer.build([weight])
    apply_if(tf.constant(False), optimizer, [tf.ones(2)], [weight])
    np.testing.assert_array_equal(weight, [1.0, 2.0])
    assert all(not np.any(variable) for variable in optimizer.variables[2:])
    apply_if(tf.constant(True), optimizer, [tf.ones(2)], [weight])
    np.testing.assert_allclose(weight, [0.5, 1.5], rtol=1e-5)


class Burst(keras.layers.Layer):
    """Returns its inputs, or infinities while `bursting` is 1."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.bursting = tf.Variable(0.0)

    def call(self, inputs):
        return inputs / (1.0 - self.bursting)


@pytest.fixture
def bursting_model(tiny_model):
    """A model with a `Burst` layer, and the layer."""
    model, layer = tiny_model(), Burst(name="burst")
    encoder = keras.Sequential([*model.encoder.layers, layer, keras.layers.ReLU()], name="encoder")
    return keras_bt.BarlowTwins(encoder, model.projector, model.views), layer


def variables(model):
    return [*model.variables, *model.optimizer.variables, *model.metrics_variables]


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "optimizer",
    ["adam", *(pytest.param(n, marks=pytest.mark.slow) for n in ("sgd", "loss scaling"))],
)
def test_held_step_changes_nothing(bursting_model, images, jit_compile, optimizer):
    model, layer = bursting_model
    if optimizer == "loss scaling":
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    model.compile(optimizer, hold_nonfinite=True, jit_compile=jit_compile)
    batches = tf.data.Dataset.from_tensors(images).repeat()
    model.fit(batches, steps_per_epoch=2, verbose=0)
    before = [variable.numpy().copy() for variable in variables(model)]

    class StartBurst(keras.callbacks.Callback):
        """Starts the burst, and restores the metrics that `fit` resets."""

        def on_epoch_begin(self, epoch, logs=None):
            layer.bursting.assign(1.0)
            for variable, value in zip(variables(model), before, strict=True):
                variable.assign(value)

    with pytest.warns(UserWarning, match="weights did not change"):
        model.fit(batches, steps_per_epoch=3, callbacks=[StartBurst()], verbose=0)
    assert (model.step_guard.finite_steps(), model.step_guard.nonfinite_term()) == (
        0,
        "invariance term",
    )
    for variable, value in zip(variables(model), before, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)


@pytest.mark.slow
def test_guard_does_not_change_finite_training(tiny_model, images):
    logs = []
    for hold in (False, True):
        model = tiny_model()
        keras.utils.set_random_seed(1)
        model.set_weights(
            [keras.random.normal(w.shape) for w in model.get_weights()[:-2]]
            + model.get_weights()[-2:]
        )
        model.compile(keras.optimizers.Adam(0.01), hold_nonfinite=hold, jit_compile=True)
        logs.append(model.fit(images, batch_size=8, epochs=3, verbose=0).history["loss"])
    np.testing.assert_allclose(*logs, rtol=1e-5)


@pytest.mark.slow
def test_first_nonfinite_names_the_layer_and_changes_nothing(bursting_model, images):
    model, layer = bursting_model
    model.compile("adam", hold_nonfinite=True)
    model.fit(images, batch_size=8, verbose=0)
    before = [variable.numpy().copy() for variable in variables(model)]
    assert first_nonfinite(model, images) is None
    layer.bursting.assign(1.0)
    assert first_nonfinite(model, images) == "in the output of layer encoder/burst"
    for variable, value in zip(variables(model), before, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)


def test_first_nonfinite_names_a_gradient(tiny_model, images):
    @tf.custom_gradient
    def without_gradient(x):
        return tf.identity(x), lambda upstream: upstream * NAN

    model = tiny_model()
    layers = model.encoder.layers
    broken = keras.layers.Lambda(without_gradient)
    encoder = keras.Sequential([*layers[:2], broken, *layers[2:]], name="encoder")
    model = keras_bt.BarlowTwins(encoder, model.projector, model.views)
    model.compile("adam", hold_nonfinite=True)
    found = first_nonfinite(model, images)
    assert found.startswith("in the gradient of ") and "batch_normalization" in found
