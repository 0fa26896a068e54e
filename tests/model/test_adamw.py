import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt


def reference(weight, gradients, rate, decay, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """AdamW in NumPy float64."""
    w, m, v = weight.astype(np.float64), 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        w = w - rate * decay * w
        w = w - rate * (m / (1 - beta_1**t)) / (
            np.sqrt(v / (1 - beta_2**t)) + epsilon / np.sqrt(1 - beta_2**t)
        )
    return w


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_weights_equal_a_reference_in_float64(rng, decay):
    weight, gradients = rng.normal(size=(3, 4)), rng.normal(size=(25, 3, 4))
    variable = keras.Variable(weight, dtype="float64")
    optimizer = keras_bt.AdamW(0.05, weight_decay=decay)
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [variable])
    expected = reference(weight, gradients, 0.05, decay)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"weight_decay": 0.2, "clipnorm": 1.0}])
def test_weights_equal_those_of_keras(rng, options):
    start = rng.normal(size=(2, 5))
    variables = [keras.Variable(start) for _ in range(2)]
    schedule = keras_bt.warmup_cosine(0.1, 3, 20)
    for variable, kind in zip(variables, (keras_bt.AdamW, keras.optimizers.AdamW), strict=True):
        optimizer, random = kind(schedule, **options), np.random.default_rng(1)
        for _ in range(10):
            optimizer.apply([tf.constant(random.normal(size=(2, 5)), tf.float32)], [variable])
    ours, theirs = (variable.numpy() for variable in variables)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert np.abs(ours - start).max() > 0.05


def test_excluded_weights_do_not_decay():
    kernel, bias = keras.Variable([2.0], name="kernel"), keras.Variable([2.0], name="bias")
    optimizer = keras_bt.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.apply([tf.zeros([1])] * 2, [kernel, bias])
    np.testing.assert_allclose([kernel.numpy()[0], bias.numpy()[0]], [1.9, 2.0], rtol=1e-6)


def test_a_checkpoint_of_kerass_optimizer_goes_on(tmp_path, rng):
    weights = [keras.Variable([1.0, 2.0]) for _ in range(2)]
    gradients = [tf.constant(each, tf.float32) for each in rng.normal(size=(6, 2))]
    theirs, ours = keras.optimizers.AdamW(0.1), keras_bt.AdamW(0.1)
    for gradient in gradients[:3]:
        theirs.apply([gradient], [weights[0]])
    saved = tf.train.Checkpoint(weight=weights[0].value, optimizer=theirs).save(tmp_path / "saved")
    ours.build([weights[1]])
    restored = tf.train.Checkpoint(weight=weights[1].value, optimizer=ours)
    restored.restore(saved).assert_consumed()
    for gradient in gradients[3:]:
        for optimizer, weight in ((theirs, weights[0]), (ours, weights[1])):
            optimizer.apply([gradient], [weight])
    np.testing.assert_allclose(weights[1].numpy(), weights[0].numpy(), rtol=1e-6)


TWO_REPLICAS = """
import keras, keras_bt, numpy as np, tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    weight = keras.Variable([1.0, 2.0])
    optimizer = keras_bt.AdamW(0.1, weight_decay=0.1)
    optimizer.build([weight])

@tf.function
def step():
    def on_replica():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        optimizer.apply([tf.constant([1.0, 3.0]) * tf.cast(number, tf.float32)], [weight])

    strategy.run(on_replica)

alone, single = keras.Variable([1.0, 2.0]), keras.optimizers.AdamW(0.1, weight_decay=0.1)
for _ in range(5):
    step()
    single.apply([tf.constant([1.0, 3.0])], [alone])  # the sum over replicas
for value in strategy.experimental_local_results(weight.value):
    np.testing.assert_allclose(value.numpy(), alone.numpy(), rtol=1e-5)
"""


@pytest.mark.slow
def test_replicas_step_by_the_sum_of_their_gradients():
    done = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
