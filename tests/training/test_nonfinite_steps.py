import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt


class InfiniteOnWhite(keras.layers.Layer):
    """The identity, or infinities if the batch has a white image."""

    def call(self, inputs):
        white = tf.reduce_any(tf.reduce_min(inputs, axis=(1, 2, 3)) == 1.0)
        return inputs / (1.0 - tf.cast(white, inputs.dtype))


@pytest.fixture
def build_for_white(build):
    """Builds a model of pairs of views whose encoder returns infinities for white images."""

    def build_for_white():
        model = build(views=None)
        layers = [keras.layers.GaussianNoise(0.0), InfiniteOnWhite(name="infinite")]
        encoder = keras.Sequential([*layers, *model.encoder.layers], name="encoder")
        model = keras_bt.BarlowTwins(encoder, model.projector, None)
        model(tf.zeros([2, 8, 8, 3]))
        model.compile(keras.optimizers.Adam(0.01), hold_nonfinite=True)
        return model

    return build_for_white


@pytest.fixture
def white_at(batches):
    """`batches` as pairs of views, with white images in view B of some steps."""

    def white_at(*steps):
        def views(step, images):
            view = tf.cast(images, tf.float32) / 255
            return view, tf.where(tf.reduce_any(step == steps), tf.ones_like(view), view)

        def from_step(step):
            return tf.data.Dataset.zip(tf.data.Dataset.counter(step), batches(step)).map(views)

        return from_step

    return white_at


@pytest.mark.slow
def test_nonfinite_step_ends_the_training(train, build_for_white, white_at):
    message = (
        r"Step 6 \(epoch 2\): the invariance term of the loss is not finite, first in the output "
        "of layer .*encoder/infinite. The weights are those before this step."
    )
    for _ in range(2):  # the same at a second start
        with pytest.raises(FloatingPointError, match=message):
            train("run", model=build_for_white(), data=white_at(5))
    state = train("run", model=build_for_white(), data=white_at()).training.state
    assert (state.step, state.nonfinite_steps) == (12, 0)


@pytest.mark.slow
@pytest.mark.parametrize("action", ["skip", "rewind"])
def test_training_continues_after_nonfinite_steps(
    train, train_until_killed, assert_same, build_for_white, white_at, action, caplog
):
    options = {"on_nonfinite": action, "every_steps": 3, "data": white_at(5, 7)}
    trained = train("run", model=build_for_white(), **options)
    assert (trained.training.state.step, trained.training.state.nonfinite_steps) == (12, 2)
    for step in (6, 8):
        assert f"Step {step} (epoch 2): the invariance term" in caplog.text
    assert f"Training continues (on_nonfinite='{action}')." in caplog.text
    assert all(np.isfinite(weight).all() for weight in trained.model.get_weights())
    assert all(np.isfinite(values).all() for values in trained.history.history.values())
    train_until_killed("killed", 7, model=build_for_white(), **options)
    assert_same(train("killed", model=build_for_white(), **options), trained)


@pytest.mark.slow
def test_rewind_restores_the_weights_of_the_checkpoint(train, build_for_white, white_at):
    class Weights(keras.callbacks.Callback):
        """The weights before each step."""

        def __init__(self):
            super().__init__()
            self.before = {}

        def on_train_batch_begin(self, batch, logs=None):
            step = len(self.before)
            self.before[step] = [weight.copy() for weight in self.model.get_weights()]

    weights = Weights()
    options = {"on_nonfinite": "rewind", "every_steps": 3, "data": white_at(5)}
    model = train("run", weights, model=build_for_white(), **options).model
    assert int(model.optimizer.iterations) == 11  # all steps of the schedule but the skipped one
    for actual, expected in zip(weights.before[6], weights.before[3], strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.slow
def test_skip_equals_training_without_the_batch(train, build_for_white, white_at):
    def without_step_5(step):
        before = white_at()(step).take(max(0, 5 - step))
        return before.concatenate(white_at()(max(step, 5) + 1))

    class StopAfterSeven(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = int(self.model.optimizer.iterations) == 7

    options = {"epochs": 2, "every_minutes": 60}
    skipped = train(
        "skip", model=build_for_white(), data=white_at(5), on_nonfinite="skip", **options
    )
    other = train(
        "other", StopAfterSeven(), model=build_for_white(), data=without_step_5, **options
    )
    for actual, expected in zip(
        skipped.model.get_weights(), other.model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_number_of_skipped_steps_is_limited(train, build_for_white, white_at):
    with pytest.raises(FloatingPointError, match="one more than most_nonfinite=2 allows"):
        train(
            "run",
            model=build_for_white(),
            data=white_at(*range(20)),
            on_nonfinite="skip",
            most_nonfinite=2,
        )


@pytest.mark.slow
def test_epoch_without_a_finite_step_ends_the_training(train, build_for_white, white_at):
    with pytest.raises(FloatingPointError, match="Step 8 .* No step of this epoch was finite"):
        train("run", model=build_for_white(), data=white_at(4, 5, 6, 7), on_nonfinite="skip")


@pytest.mark.slow
def test_signal_does_not_save_held_steps(train, at_step, build_for_white, white_at, tmp_path):
    signals = at_step(5, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit):
        train("run", signals, model=build_for_white(), data=white_at(5))
    training = keras_bt.ResumableTraining(tmp_path / "run")
    assert training.restore(build_for_white()).step == 5
    with pytest.raises(FloatingPointError, match="Step 6"):
        train("run", model=build_for_white(), data=white_at(5))
