import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.checkpoint import CheckpointError


class Kill(keras.callbacks.Callback):
    """Raises before the given step, as if the process were ended there."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_begin(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == self.step:
            raise KeyboardInterrupt


@pytest.fixture
def train(tiny_model, images, tmp_path):
    """Trains for four epochs of two steps, from the newest checkpoint on."""

    def train(folder, callbacks=(), model=None, epochs=4, **arguments):
        keras.utils.set_random_seed(5)
        model = model or tiny_model()
        rate = keras.optimizers.schedules.CosineDecay(0.0, 6, warmup_target=0.1, warmup_steps=2)
        optimizer = keras.optimizers.Adam(rate)
        model.compile(keras.optimizers.LossScaleOptimizer(optimizer, dynamic_growth_steps=3))
        options = {"every_minutes": 0, **arguments}
        resumable = keras_bt.ResumableTraining(tmp_path / folder, **options)
        first = resumable.restore(model)
        batches = tf.data.Dataset.from_tensor_slices(images).batch(8)
        callbacks = [*callbacks, resumable]
        model.fit(batches, epochs=epochs, initial_epoch=first, callbacks=callbacks, verbose=0)
        return model, first, resumable

    return train


def test_an_interrupted_training_ends_with_the_same_weights(train):
    undisturbed, _, _ = train("undisturbed")
    with pytest.raises(KeyboardInterrupt):
        train("interrupted", [Kill(step=5)])
    resumed, first, _ = train("interrupted")
    assert first == 2
    assert int(resumed.optimizer.iterations) == int(undisturbed.optimizer.iterations) == 8
    for got, wanted in zip(resumed.variables, undisturbed.variables, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6, err_msg=wanted.path)
    for got, wanted in zip(
        resumed.optimizer.variables, undisturbed.optimizer.variables, strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6, err_msg=wanted.path)


def test_a_finished_training_trains_no_more(train):
    finished, _, before = train("run")
    weights = finished.get_weights()
    again, first, after = train("run")
    assert first == 4 and after.seconds == before.seconds > 0
    for got, wanted in zip(again.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_the_newest_few_are_kept_and_the_last_epoch_always(train, tmp_path):
    train("all", keep=2)
    assert {path.stem for path in (tmp_path / "all").glob("*.index")} == {"ckpt-3", "ckpt-4"}
    train("seldom", every_minutes=60)
    assert {path.stem for path in (tmp_path / "seldom").glob("*.index")} == {"ckpt-4"}
    train("none", writes=False)
    assert not list((tmp_path / "none").glob("*"))


def test_a_training_that_stops_early_is_saved_at_its_end(train, tmp_path):
    class StopAfterTwo(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    train("run", [StopAfterTwo()], every_minutes=60)
    assert train("run", epochs=2)[1] == 2


def test_a_checkpoint_of_another_model_is_refused(train, images):
    train("run")
    encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    other = keras_bt.BarlowTwins(
        encoder, keras_bt.projector(192, (4,)), keras_bt.small_image_views(8, seed=0)
    )
    with pytest.raises(CheckpointError, match="ckpt-4 is of another model"):
        train("run", model=other)


def test_workers_that_see_other_folders_are_refused(train, monkeypatch):
    def differ(strategy, value):
        return [{"newest checkpoint": "ckpt-3"}, value]

    monkeypatch.setattr("keras_bt.workers.collect", differ)
    message = "All workers have to see one folder. .*'ckpt-3' on worker 0, None on worker 1"
    with pytest.raises(CheckpointError, match="(?s)" + message):
        train("run")
