"""Models, optimizers and strategies that do not belong together are refused before training."""

import contextlib

import keras
import pytest
import tensorflow as tf

import keras_bt

NO_SCOPE = contextlib.nullcontext
TWO_SCOPES = r"made in the scope of .* and is {} in that of .*inside `with strategy.scope\(\):`"


@pytest.fixture(scope="module")
def strategy():
    return tf.distribute.MirroredStrategy(["CPU:0"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ("model, optimizer", TWO_SCOPES.format("compiled")),
        ("model", TWO_SCOPES.format("compiled")),
        ("model, compile", "iteration was made outside the strategy's scope; make the optimizer"),
        ("optimizer, compile", TWO_SCOPES.format("compiled")),
        ("compile", TWO_SCOPES.format("compiled")),
        ("optimizer", "iteration was made in a strategy's scope; make the optimizer outside it"),
    ],
)
def test_parts_of_other_scopes_are_refused_in_compile(tiny_model, strategy, inside, message):
    def scope(part):
        return strategy.scope() if part in inside else NO_SCOPE()

    with scope("model"):
        model = tiny_model()
    with scope("optimizer"):
        optimizer = keras.optimizers.SGD(0.1)
    with scope("compile"), pytest.raises(ValueError, match=message):
        model.compile(optimizer)


def test_parts_made_outside_are_refused_in_compile(tiny_model, strategy):
    parts = tiny_model()
    with strategy.scope():
        model = keras_bt.BarlowTwins(parts.encoder, parts.projector, parts.views)
        with pytest.raises(ValueError, match="kernel was made outside .*; make encoder, projector"):
            model.compile("sgd")


@pytest.mark.parametrize("kind", [tf.distribute.OneDeviceStrategy, tf.distribute.MirroredStrategy])
def test_parts_made_inside_are_compiled(tiny_model, kind):
    with kind("CPU:0" if kind is tf.distribute.OneDeviceStrategy else ["CPU:0"]).scope():
        model = tiny_model()
        model.compile(keras.optimizers.SGD(0.1))
        model.compile("sgd")


@pytest.mark.slow
def test_a_model_loaded_outside_is_refused_in_fit(tiny_model, images, strategy, tmp_path):
    model = tiny_model()
    model.compile("sgd")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    with strategy.scope(), pytest.raises(ValueError, match=TWO_SCOPES.format("trained")):
        loaded.fit(images, verbose=0)
    with strategy.scope():
        inside = keras.saving.load_model(tmp_path / "model.keras")
    inside.fit(images, batch_size=16, verbose=0)
