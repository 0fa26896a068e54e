"""A small model, its data, and trainings that are killed and resumed."""

from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt

EPOCHS, STEPS_PER_EPOCH = 3, 4


class Trained(NamedTuple):
    model: keras_bt.BarlowTwins
    training: keras_bt.ResumableTraining
    history: keras.callbacks.History


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def batches(rng):
    """Endless batches of eight images from a step on; they repeat after three."""
    images = rng.integers(0, 256, (24, 8, 8, 3)).astype("uint8")
    return tf.data.Dataset.from_tensor_slices(images).batch(8).repeat().skip


@pytest.fixture
def build(tiny_model):
    """Builds a compiled model with dropout and a schedule, the same each time."""

    def build(views="noisy", **arguments):
        keras.utils.set_random_seed(5)
        model = tiny_model(views)
        layers = [*model.encoder.layers, keras.layers.Dropout(0.2, seed=3)]
        encoder = keras.Sequential(layers, name="encoder")
        model = keras_bt.BarlowTwins(encoder, model.projector, model.views)
        rate = keras.optimizers.schedules.CosineDecay(0.0, 10, warmup_target=0.1, warmup_steps=2)
        optimizer = keras.optimizers.Adam(rate)
        model.compile(optimizer, **{"hold_nonfinite": True, **arguments})
        return model

    return build


@pytest.fixture
def train(build, batches, tmp_path):
    """Trains from the newest checkpoint on."""

    def train(folder, *callbacks, model=None, epochs=EPOCHS, data=batches, **arguments):
        model = model or build()
        training = keras_bt.ResumableTraining(tmp_path / folder, **arguments)
        training.restore(model)
        return Trained(model, training, training.fit(data, epochs, STEPS_PER_EPOCH, callbacks))

    return train


@pytest.fixture
def at_step():
    """Makes a callback that calls a function before a step, counted from 0."""

    def at_step(step, function):
        class AtStep(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):
                if int(self.model.optimizer.iterations) == step:
                    function()

        return AtStep()

    return at_step


@pytest.fixture
def train_until_killed(train, at_step):
    """Trains up to a step, counted from 0, and ends there as if the process were killed."""

    def kill():
        raise Killed

    def train_until_killed(folder, step, **arguments):
        with pytest.raises(Killed):
            train(folder, at_step(step, kill), **arguments)

    return train_until_killed


@pytest.fixture
def assert_same():
    """Compares models, optimizers and logs of two trainings."""

    def assert_same(one, other, tolerance=1e-5):
        for actual, expected in zip(
            [*one.model.variables, *one.model.optimizer.variables],
            [*other.model.variables, *other.model.optimizer.variables],
            strict=True,
        ):
            np.testing.assert_allclose(
                actual, expected, rtol=tolerance, atol=tolerance / 10, err_msg=expected.path
            )
        for line, other_line in zip(
            one.training.state.history, other.training.state.history, strict=True
        ):
            assert without_seconds(line) == pytest.approx(
                without_seconds(other_line), rel=tolerance
            )

    return assert_same


def without_seconds(line):
    return {name: value for name, value in line.items() if name != "seconds"}
