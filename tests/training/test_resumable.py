import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt._support import atomic
from keras_bt.training.checkpoint import CheckpointError

EPOCHS, STEPS_PER_EPOCH = 3, 4


@pytest.fixture
def batches(rng):
    """Batches of eight images from a step on, three of them, again and again."""
    images = rng.integers(0, 256, (24, 8, 8, 3)).astype("uint8")
    return tf.data.Dataset.from_tensor_slices(images).batch(8).repeat().skip


@pytest.fixture
def build(tiny_model):
    """A compiled model with dropout and a schedule, the same each time."""

    def build(views="default", **arguments):
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
    """Trains from the newest checkpoint on; gives the model and the training."""

    def train(folder, *callbacks, model=None, epochs=EPOCHS, data=batches, **arguments):
        model = model or build()
        training = keras_bt.ResumableTraining(tmp_path / folder, **arguments)
        training.restore(model)
        training.fit(data, epochs, STEPS_PER_EPOCH, callbacks)
        return model, training

    return train


def at_step(step, act):
    """A callback that acts before the given step, counted from 0."""

    class AtStep(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == step:
                act(self.model)

    return AtStep()


class Killed(Exception):
    """In place of the end of the process."""


def kill(model):
    raise Killed


def assert_same(one, other, tolerance=1e-5):
    """Models, their optimizers and histories agree."""
    (model, training), (other_model, other_training) = one, other
    for got, wanted in zip(
        [*model.variables, *model.optimizer.variables],
        [*other_model.variables, *other_model.optimizer.variables],
        strict=True,
    ):
        np.testing.assert_allclose(
            got, wanted, rtol=tolerance, atol=tolerance / 10, err_msg=wanted.path
        )
    history, other_history = training.state.history, other_training.state.history
    assert len(history) == len(other_history)
    for line, other_line in zip(history, other_history, strict=True):
        del line["seconds"], other_line["seconds"]
        assert line == pytest.approx(other_line, rel=tolerance)


@pytest.mark.parametrize(("killed_at", "every_steps"), [(1, 3), (4, 1), (6, 1), (11, 3)])
def test_a_killed_training_ends_as_an_undisturbed_one(train, killed_at, every_steps):
    undisturbed = train("undisturbed", every_steps=every_steps)
    with pytest.raises(Killed):
        train("killed", at_step(killed_at, kill), every_steps=every_steps)
    resumed = train("killed", every_steps=every_steps)
    assert [line["step"] for line in resumed[1].state.history] == [4, 8, 12]
    assert_same(resumed, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_compiled_training_is_resumed_to_the_last_bit(train, build, policy):
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(policy)
        undisturbed = train("undisturbed", model=build(jit_compile=True))
        with pytest.raises(Killed):
            train("killed", at_step(6, kill), model=build(jit_compile=True), every_steps=1)
        assert_same(train("killed", model=build(jit_compile=True)), undisturbed, tolerance=0)
    finally:
        keras.config.set_dtype_policy(before)


def test_loss_scaling_is_resumed(train, build):
    def scaled():
        model = build()
        optimizer = keras.optimizers.LossScaleOptimizer(model.optimizer, dynamic_growth_steps=3)
        model.compile(optimizer, hold_nonfinite=True)
        return model

    undisturbed = train("undisturbed", model=scaled())
    with pytest.raises(Killed):
        train("killed", at_step(6, kill), model=scaled(), every_steps=1)
    assert_same(train("killed", model=scaled()), undisturbed)


@pytest.mark.parametrize(
    ("number", "when"),
    [
        (signal.SIGTERM, "in a step"),
        (signal.SIGTERM, "last step"),
        (signal.SIGINT, "monitors"),
    ],
)
def test_a_signal_saves_and_ends(train, number, when, capfd):
    class Signal(keras.callbacks.Callback):
        steps = 0

        def on_train_batch_begin(self, batch, logs=None):
            self.steps += 1
            if self.steps == {"in a step": 6, "last step": 8}.get(when):
                signal.raise_signal(number)

        def on_epoch_end(self, epoch, logs=None):
            logs["monitored"] = 1.0
            if when == "monitors" and epoch == 1:
                signal.raise_signal(number)

    class Monitor(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["monitored"] = 1.0

    undisturbed = train("undisturbed", Monitor())
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
        train("left", Signal(), every_minutes=60)
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers
    training = keras_bt.ResumableTraining(undisturbed[1].directory.parent / "left")
    assert training.restore(train("other")[0]).step == (6 if when == "in a step" else 8)
    resumed = train("left", Monitor())
    assert [line["monitored"] for line in resumed[1].state.history] == [1.0] * EPOCHS
    assert_same(resumed, undisturbed)


def test_callbacks_see_one_training(train):
    class Watch(keras.callbacks.Callback):
        seen = ()

        def on_train_begin(self, logs=None):
            self.seen += ("train",)

        def on_epoch_begin(self, epoch, logs=None):
            self.seen += (epoch, self.params["epochs"])

        def on_train_end(self, logs=None):
            self.seen += ("end",)

    with pytest.raises(Killed):
        train("killed", at_step(6, kill), every_steps=1)
    watch = Watch()
    train("killed", watch)
    assert watch.seen == ("train", 1, 3, 2, 3, "end")


def test_an_epoch_without_a_finite_step_has_no_logs(train, build_bursting, with_white):
    with pytest.raises(FloatingPointError, match="Step 8 .* No step of this epoch was finite"):
        train("run", model=build_bursting(), data=with_white(4, 5, 6, 7), on_nonfinite="skip")


def test_a_finished_training_trains_no_more(train):
    first = train("run")
    again = train("run")
    assert_same(again, first)
    assert again[1].state.seconds == pytest.approx(first[1].state.seconds, abs=0.5)


def test_checkpoints_come_by_minutes_and_steps_and_at_the_end(train, tmp_path):
    def steps(folder):
        return sorted(int(path.name.split("-")[1]) for path in (tmp_path / folder).iterdir())

    train("steps", every_steps=5)
    assert steps("steps") == [5, 10, 12]
    train("seldom", every_minutes=60)
    assert steps("seldom") == [12]
    train("often", every_minutes=0, keep=20)
    assert steps("often")[-1] == 12 and {4, 8} < set(steps("often"))
    train("reads", writes=False)
    assert not (tmp_path / "reads").exists()


def test_a_training_that_a_callback_stops_is_saved(train):
    class StopAfterTwo(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    assert train("run", StopAfterTwo(), every_minutes=60)[1].state.step == 8
    assert_same(train("run"), train("undisturbed"))


def test_a_full_disk_does_not_end_the_training(train, monkeypatch, caplog):
    undisturbed = train("undisturbed")
    write = tf.train.Checkpoint.write
    full = []

    def fails_twice(self, prefix):
        if len(full) < 2:
            full.append(prefix)
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")
        return write(self, prefix)

    monkeypatch.setattr(tf.train.Checkpoint, "write", fails_twice)
    assert_same(train("run", every_steps=3), undisturbed)
    assert caplog.text.count("could not be written: no space left on device") == 2
    monkeypatch.setattr(tf.train.Checkpoint, "write", lambda *_: fails_twice(full.clear(), ""))
    with pytest.raises(atomic.WriteError, match="ckpt-12 could not be written"):
        train("never")


class BurstsOnWhite(keras.layers.Layer):
    """Passes images on, but infinities if one of them is white."""

    def call(self, inputs):
        white = tf.reduce_any(tf.reduce_min(inputs, axis=(1, 2, 3)) == 1.0)
        return inputs / (1.0 - tf.cast(white, inputs.dtype))


@pytest.fixture
def build_bursting(build):
    """A model of pairs of views, whose encoder bursts on white images."""

    def build_bursting():
        model = build(views=None)
        layers = [keras.layers.GaussianNoise(0.0), BurstsOnWhite(name="burst")]
        encoder = keras.Sequential([*layers, *model.encoder.layers], name="encoder")
        model = keras_bt.BarlowTwins(encoder, model.projector, None)
        model(tf.zeros([2, 8, 8, 3]))
        model.compile(keras.optimizers.Adam(0.01), hold_nonfinite=True)
        return model

    return build_bursting


@pytest.fixture
def with_white(batches):
    """As `batches`, as pairs of views, with white images in view B of some steps."""

    def with_white(*steps):
        def views(step, images):
            view = tf.cast(images, tf.float32) / 255
            return view, tf.where(tf.reduce_any(step == steps), tf.ones_like(view), view)

        def from_step(step):
            return tf.data.Dataset.zip(tf.data.Dataset.counter(step), batches(step)).map(views)

        return from_step

    return with_white


def test_a_step_that_is_not_finite_stops_with_its_name(train, build_bursting, with_white):
    message = (
        r"Step 6 \(epoch 2\): the invariance term of the loss is not finite, first in the output "
        "of layer .*encoder/burst. The weights are those before it."
    )
    for _ in range(2):  # and again, when it is started again
        with pytest.raises(FloatingPointError, match=message):
            train("run", model=build_bursting(), data=with_white(5))
    _, training = train("run", model=build_bursting(), data=with_white())
    assert (training.state.step, training.state.nonfinite_steps) == (12, 0)


@pytest.mark.parametrize("policy", ["skip", "rewind"])
def test_a_step_that_is_not_finite_is_passed_over(
    train, build_bursting, with_white, policy, caplog
):
    def go(folder, *callbacks):
        options = {"on_nonfinite": policy, "every_steps": 3, "data": with_white(5, 7)}
        return train(folder, *callbacks, model=build_bursting(), **options)

    done = go("run")
    assert (done[1].state.step, done[1].state.nonfinite_steps) == (12, 2)
    for step in (6, 8):
        assert f"Step {step} (epoch 2): the invariance term" in caplog.text
    assert f"Going on by {policy}." in caplog.text
    assert all(np.isfinite(weight).all() for weight in done[0].get_weights())
    assert all(np.isfinite(list(line.values())).all() for line in done[1].state.history)
    with pytest.raises(Killed):
        go("killed", at_step(7, kill))
    assert_same(go("killed"), done)


def test_rewinding_takes_the_weights_of_the_checkpoint(train, build_bursting, with_white):
    class Weights(keras.callbacks.Callback):
        """The weights before each step."""

        def __init__(self):
            super().__init__()
            self.before = {}

        def on_train_batch_begin(self, batch, logs=None):
            step = len(self.before)
            self.before[step] = [weight.copy() for weight in self.model.get_weights()]

    weights = Weights()
    options = {"on_nonfinite": "rewind", "every_steps": 3, "data": with_white(5)}
    model, _ = train("run", weights, model=build_bursting(), **options)
    assert int(model.optimizer.iterations) == 11  # of the schedule, less the step passed over
    for got, wanted in zip(weights.before[6], weights.before[3], strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_skipping_is_as_if_the_batch_had_not_been_there(train, build_bursting, with_white):
    def left_out(step):
        before = with_white()(step).take(max(0, 5 - step))
        return before.concatenate(with_white()(max(step, 5) + 1))

    class StopAfterSeven(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = int(self.model.optimizer.iterations) == 7

    options = {"epochs": 2, "every_minutes": 60}
    skipped, _ = train(
        "skip", model=build_bursting(), data=with_white(5), on_nonfinite="skip", **options
    )
    other, _ = train("other", StopAfterSeven(), model=build_bursting(), data=left_out, **options)
    for got, wanted in zip(skipped.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_passing_over_has_a_bound(train, build_bursting, with_white):
    with pytest.raises(FloatingPointError, match="one more than the 2 that may be passed over"):
        train(
            "run",
            model=build_bursting(),
            data=with_white(*range(20)),
            on_nonfinite="skip",
            most_nonfinite=2,
        )


def test_a_signal_does_not_save_held_steps_as_trained(train, build_bursting, with_white, tmp_path):
    """Nor does one that comes while the layer is looked for."""
    signals = at_step(5, lambda _: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit):
        train("run", signals, model=build_bursting(), data=with_white(5))
    training = keras_bt.ResumableTraining(tmp_path / "run")
    assert training.restore(build_bursting()).step == 5
    with pytest.raises(FloatingPointError, match="Step 6"):
        train("run", model=build_bursting(), data=with_white(5))


def test_the_data_and_the_model_stay_those_restored(train, build, batches, tmp_path):
    train("run")
    training, model = keras_bt.ResumableTraining(tmp_path / "run"), build()
    training.restore(model)
    with pytest.raises(ValueError, match="steps_per_epoch was 4 when .* began, is 6 now"):
        training.fit(batches, EPOCHS, 6)
    model.compile("sgd", hold_nonfinite=True)
    with pytest.raises(ValueError, match="restore\\(\\) has to come after compile"):
        training.fit(batches, EPOCHS, STEPS_PER_EPOCH)


def test_what_cannot_be_trained_is_refused(train, build, batches):
    with pytest.raises(ValueError, match="on_nonfinite must be one of .*'stop'.*, got 'ignore'"):
        train("run", on_nonfinite="ignore")
    with pytest.raises(ValueError, match="every_steps must be at least 1, got 0"):
        train("run", every_steps=0)
    with pytest.raises(ValueError, match="hold_nonfinite=True"):
        train("run", model=build(hold_nonfinite=False))
    with pytest.raises(ValueError, match="every_minutes must be at least 0, got nan"):
        train("run", every_minutes=float("nan"))
    with pytest.raises(ValueError, match="steps_per_execution must be 1"):
        train("run", model=build(steps_per_execution=2))
    with pytest.raises(ValueError, match="must give data without end"):
        train("run", data=lambda step: batches(step).take(4))
    model = build()
    model.compile(keras.optimizers.Adam(gradient_accumulation_steps=2), hold_nonfinite=True)
    with pytest.raises(ValueError, match="rewind.* does not go with gradient_accumulation_steps"):
        train("run", model=model, on_nonfinite="rewind")
    model.compile(keras.optimizers.Adam(use_ema=True), hold_nonfinite=True)
    with pytest.raises(ValueError, match="use_ema=True cannot be resumed"):
        train("run", model=model)


def test_checkpoints_of_other_settings_or_models_are_refused(train, build, images):
    train("run", settings={"width": 4})
    with pytest.raises(CheckpointError, match="width: 4 there, 8 now"):
        train("run", settings={"width": 8})
    encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    other = keras_bt.BarlowTwins(
        encoder, keras_bt.projector(192, (4,)), keras_bt.small_image_views(8, seed=0)
    )
    other.compile("adam", hold_nonfinite=True)
    with pytest.raises(CheckpointError, match="ckpt-12 is of another model"):
        train("run", model=other, settings={"width": 4})


def test_workers_that_see_other_folders_are_refused(train, monkeypatch):
    def differ(strategy, value):
        return [{"step of the checkpoint": 7}, value] if isinstance(value, dict) else [value]

    monkeypatch.setattr("keras_bt.distribution.workers.gather_from_workers", differ)
    with pytest.raises(CheckpointError, match="(?s)7 on worker 0, 0 on worker 1"):
        train("run")
