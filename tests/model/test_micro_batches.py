"""Micro-batches against the whole batch: the same gradient, less memory."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_bt
from keras_bt.model.micro_batches import gradients_by_micro_batches

MODES = {"graph": {}, "eager": {"run_eagerly": True}, "xla": {"jit_compile": True}}


@contextlib.contextmanager
def policy(name):
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def model_without_batch_norm(micro_batches, dropout=0.0, views="default"):
    """A model in which no image depends on the other images of its batch."""
    keras.utils.set_random_seed(3)
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, strides=2, activation="gelu"),
            layers.Flatten(),
            layers.Dense(6, "gelu", kernel_regularizer=keras.regularizers.L2(0.3)),
            layers.Dropout(dropout, seed=7),
        ]
    )
    last = layers.Dense(8, use_bias=False)  # the gradient of a bias is rounding error
    projector = keras.Sequential([keras.Input((6,)), layers.Dense(12, "gelu"), last])
    if views == "default":  # without what takes long to trace
        views = keras_bt.small_image_views(8, jitter_rate=0.0, grayscale_rate=0.0, seed=0)
    return keras_bt.BarlowTwins(encoder, projector, views, micro_batches)


def trained(model, images, optimizer=None, epochs=2, **options):
    """Trains, and returns weights, logs of the training and logs of an evaluation."""
    model.compile(optimizer or keras.optimizers.SGD(0.01), **options)
    fitted = model.fit(images, batch_size=8, epochs=epochs, shuffle=False, verbose=0).history
    evaluated = model.evaluate(images[:13], batch_size=8, verbose=0, return_dict=True)
    return model.get_weights(), fitted, evaluated


def assert_same_training(one, other, rtol):
    for got, wanted in zip(one[0], other[0], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=rtol * np.abs(wanted).max())
    for got, wanted in zip(one[1:], other[1:], strict=True):
        assert got.keys() == wanted.keys()
        for name in wanted:
            np.testing.assert_allclose(got[name], wanted[name], rtol=rtol, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_training_is_that_of_the_whole_batch(images, mode):
    whole = trained(model_without_batch_norm(1), images, **MODES[mode])
    parts = trained(model_without_batch_norm(4), images, **MODES[mode])
    assert_same_training(parts, whole, rtol=1e-4)
    fresh = model_without_batch_norm(1).get_weights()
    assert max(np.abs(a - b).max() for a, b in zip(whole[0], fresh, strict=True)) > 1e-3


@pytest.mark.slow
def test_gradient_is_that_of_the_whole_batch(images):
    view_a = tf.constant(images / np.float32(255))
    view_b = tf.clip_by_value(view_a + 0.1 * tf.random.stateless_normal(view_a.shape, [1, 2]), 0, 1)
    found = []
    for micro_batches in (1, 2, 8):
        model = model_without_batch_norm(micro_batches)
        model.compile("sgd")
        found.append(model.terms_and_gradients(view_a, view_b))
    for terms, gradients in found[1:]:
        np.testing.assert_allclose(terms, found[0][0], rtol=1e-5)
        for got, wanted in zip(gradients, found[0][1], strict=True):
            scale = np.abs(wanted).max()
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * scale)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_both_passes_draw_the_same_random_numbers(images, mode):
    """Compares with a step written by hand, with the same dropout masks."""
    views, k = np.split(images / np.float32(255), 2), 4
    model, twin = (model_without_batch_norm(k, dropout=0.5, views=None) for _ in range(2))
    model.compile(keras.optimizers.SGD(0.1), **MODES[mode])

    @tf.function(jit_compile=mode == "xla")  # XLA draws other floats
    def gradients_by_hand():
        with tf.GradientTape() as tape:
            z = [
                [twin.projector(twin.encoder(part, training=True)) for part in pair]
                for pair in ([view[part::k] for view in views] for part in range(k))
            ]
            z_a, z_b = (tf.concat(each, axis=0) for each in zip(*z, strict=True))
            loss = keras_bt.BarlowTwinsLoss()(z_a, z_b) + tf.add_n(twin.losses)
        return tape.gradient(loss, twin.trainable_variables)

    for _ in range(2):
        model.train_on_batch(*views)
        for variable, gradient in zip(twin.trainable_variables, gradients_by_hand(), strict=True):
            variable.assign_sub(0.1 * gradient)
    for got, wanted in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    seeds = [m.encoder.layers[-1].seed_generator.state.numpy() for m in (model, twin)]
    np.testing.assert_array_equal(*seeds)


@pytest.mark.slow
def test_statistics_move_once_per_micro_batch(images):
    views, k = np.split(images / np.float32(255), 2), 4
    encoder = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.BatchNormalization(momentum=0.5), layers.Flatten()]
    )
    projector = keras.Sequential([keras.Input((192,)), layers.Dense(4)])
    model = keras_bt.BarlowTwins(encoder, projector, None, micro_batches=k)
    model.compile("sgd")
    model.train_on_batch(*views)
    mean = np.zeros(3)
    for part in range(k):
        for view in views:
            mean = 0.5 * mean + 0.5 * view[part::k].mean(axis=(0, 1, 2))
    np.testing.assert_allclose(encoder.layers[0].moving_mean, mean, rtol=1e-5)


def test_gradient_of_an_unused_variable_is_none():
    used, unused = tf.Variable(2.0), tf.Variable(3.0)
    x, spec = tf.constant([1.0, 2.0, 3.0, 4.0]), tf.TensorSpec([None])
    _, gradients = gradients_by_micro_batches(
        lambda x: (used * x,), lambda z: (tf.reduce_sum(z), ()), [x], 2, [spec], [unused, used]
    )
    assert gradients[0] is None and float(gradients[1]) == 10.0


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_held_step_changes_nothing(tiny_model, images, mode):
    model = tiny_model(micro_batches=2)
    model.compile("adam", hold_nonfinite=True, **MODES[mode])
    kernel = model.encoder.layers[0].kernel
    kernel.assign(tf.fill(kernel.shape, float("nan")))
    before = [variable.numpy().copy() for variable in model.variables]
    with pytest.warns(UserWarning, match="weights did not change: the invariance term"):
        model.fit(images, batch_size=8, verbose=0)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)


@pytest.mark.slow
def test_resumable_training_names_the_nonfinite_layer(tiny_model, images, tmp_path):
    model = tiny_model(micro_batches=2)
    model.compile("adam", hold_nonfinite=True)
    training = keras_bt.ResumableTraining(tmp_path)
    training.restore(model)
    batches = tf.data.Dataset.from_tensors(images).repeat().skip
    training.fit(batches, epochs=1, steps_per_epoch=2)
    kernel = model.projector.trainable_variables[0]
    kernel.assign(tf.fill(kernel.shape, float("nan")))
    with pytest.raises(FloatingPointError, match=r"Step 3 .* first in the output of layer"):
        training.fit(batches, epochs=2, steps_per_epoch=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_trains_in_mixed_precision(tiny_model, images, name):
    with policy(name):
        model = tiny_model(micro_batches=2)
        model.compile(keras.optimizers.Adam(0.01), hold_nonfinite=True)
        history = model.fit(images, batch_size=16, epochs=8, verbose=0).history["loss"]
    assert np.isfinite(history).all() and min(history[-3:]) < history[0]


@pytest.mark.slow
def test_loss_scaling_does_not_change_training(images):
    scaling = keras.optimizers.LossScaleOptimizer
    runs = [
        trained(model_without_batch_norm(k), images, optimizer)
        for k, optimizer in ((1, None), (4, scaling(keras.optimizers.SGD(0.01))))
    ]
    assert_same_training(*runs[::-1], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [*MODES, "two_steps"])
def test_trains_with_batch_norm_and_reloads(tiny_model, images, tmp_path, mode):
    model = tiny_model(micro_batches=2)
    options = MODES.get(mode, {"steps_per_execution": 2})
    model.compile(keras.optimizers.Adam(0.02), **options)
    history = model.fit(images, batch_size=8, epochs=12, verbose=0).history
    assert np.mean(history["loss"][-3:]) < 0.8 * history["loss"][0]
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert reloaded.micro_batches == 2
    both = [
        m.fit(images, batch_size=8, shuffle=False, verbose=0).history for m in (model, reloaded)
    ]
    np.testing.assert_allclose(both[0]["loss"], both[1]["loss"], rtol=1e-5)


@pytest.mark.slow
def test_trains_a_subclassed_encoder(images):
    class Encoder(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.dropout = layers.Dense(5), layers.Dropout(0.5)

        def call(self, inputs, training=False):
            flat = keras.ops.reshape(inputs, (-1, 192))
            return self.dropout(self.dense(flat), training=training)

    projector = keras.Sequential([layers.Dense(4)])
    views = keras_bt.small_image_views(8)
    model = keras_bt.BarlowTwins(Encoder(), projector, views, micro_batches=2)
    model.compile("sgd")
    history = model.fit(images, batch_size=8, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.slow
def test_batches_that_cannot_be_split_raise_before_training(tiny_model, images):
    with pytest.raises(ValueError, match="micro_batches must be at least 1, got 0"):
        tiny_model(micro_batches=0)
    model = tiny_model(micro_batches=4)
    model.compile("sgd")
    multiple = "must be a multiple of micro_batches=4, got"
    dataset = tf.data.Dataset.from_tensors
    for data, batch_size, message in (
        (images, 6, f"{multiple} 6 images"),
        (images[:14], 8, f"{multiple} 6 images"),
        (dataset(images[:10]), None, f"{multiple} 10 images"),
        (images, 4, "at least 2 images .* got 4 images per replica and micro_batches=4"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(data, batch_size=batch_size, verbose=0)
    late = dataset(images).concatenate(dataset(images[:10]))
    with pytest.raises(ValueError, match=r"multiple of micro_batches=4\.$"):
        model.fit(late, verbose=0)


PEAK = """
import json, sys
from pathlib import Path
import keras, numpy as np, keras_bt
encoder = keras_bt.resnet18((32, 32, 3), width=16, stem="small")
projector, views = keras_bt.projector(128, (64, 64)), keras_bt.small_image_views(32, seed=0)
model = keras_bt.BarlowTwins(encoder, projector, views, micro_batches=int(sys.argv[1]))
model.compile("sgd")
images = np.random.default_rng(0).integers(0, 256, (512, 32, 32, 3)).astype("uint8")
def peak():  # of this process; `getrusage` may return the peak of the parent
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
before = peak()
model.train_on_batch(images[:16])
traced = peak()
model.train_on_batch(images)
print(json.dumps([traced - before, peak() - before]))
"""


def memory_growth(micro_batches):
    """Growth of a process that trains on a small batch and then on a large one, in kB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(micro_batches)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_eight_micro_batches_need_a_third_of_the_memory():
    whole, parts = (large - small for small, large in (memory_growth(1), memory_growth(8)))
    assert parts < whole / 3, (parts, whole)
