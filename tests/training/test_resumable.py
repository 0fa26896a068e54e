import signal

import keras
import pytest
import tensorflow as tf

import keras_bt
from keras_bt._support import atomic
from keras_bt.training.checkpoint import CheckpointError

EPOCHS, STEPS_PER_EPOCH = 3, 4


class Monitor(keras.callbacks.Callback):
    """Adds a metric to the logs of each epoch."""

    def on_epoch_end(self, epoch, logs=None):
        logs["monitored"] = 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("step", "every_steps"), [(1, 3), (4, 1), (6, 1), (11, 3)])
def test_killed_training_resumes(train, train_until_killed, assert_same, step, every_steps):
    undisturbed = train("undisturbed", every_steps=every_steps)
    train_until_killed("killed", step, every_steps=every_steps)
    resumed = train("killed", every_steps=every_steps)
    assert [line["step"] for line in resumed.training.state.history] == [4, 8, 12]
    assert_same(resumed, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_compiled_training_resumes_to_the_last_bit(
    train, train_until_killed, assert_same, build, policy
):
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(policy)
        undisturbed = train("undisturbed", model=build(jit_compile=True))
        train_until_killed("killed", 6, model=build(jit_compile=True), every_steps=1)
        assert_same(train("killed", model=build(jit_compile=True)), undisturbed, tolerance=0)
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.slow
def test_loss_scale_resumes(train, train_until_killed, assert_same, build):
    def build_scaled():
        model = build()
        optimizer = keras.optimizers.LossScaleOptimizer(model.optimizer, dynamic_growth_steps=3)
        model.compile(optimizer, hold_nonfinite=True)
        return model

    undisturbed = train("undisturbed", model=build_scaled())
    train_until_killed("killed", 6, model=build_scaled(), every_steps=1)
    assert_same(train("killed", model=build_scaled()), undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "when"),
    [
        (signal.SIGTERM, "in a step"),
        (signal.SIGTERM, "last step"),
        (signal.SIGINT, "monitors"),
    ],
)
def test_signal_saves_and_exits(train, assert_same, number, when):
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

    undisturbed = train("undisturbed", Monitor())
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
        train("interrupted", Signal(), every_minutes=60)
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers
    training = keras_bt.ResumableTraining(undisturbed.training.directory.parent / "interrupted")
    assert training.restore(train("other").model).step == (6 if when == "in a step" else 8)
    resumed = train("interrupted", Monitor())
    assert resumed.history.history["monitored"] == [1.0] * EPOCHS
    assert_same(resumed, undisturbed)


@pytest.mark.slow
def test_fit_returns_the_history_of_keras(train):
    trained = train("run", Monitor())
    history, lines = trained.history, trained.training.state.history
    assert isinstance(history, keras.callbacks.History)
    assert trained.model.history is history
    assert history.epoch == [0, 1, 2]
    assert history.params["epochs"] == EPOCHS
    assert history.history["loss"] == [line["loss"] for line in lines]
    assert history.history["step"] == [4, 8, 12]
    assert history.history["monitored"] == [1.0, 1.0, 1.0]
    assert "epoch" not in history.history


@pytest.mark.slow
def test_history_includes_epochs_before_a_resumption(train, train_until_killed):
    undisturbed = train("undisturbed")
    train_until_killed("killed", 6, every_steps=1)
    finished = [train("killed"), train("killed")]  # resumed, then nothing left to train
    for trained in finished:
        assert trained.history.epoch == [0, 1, 2]
        assert trained.history.history.keys() == undisturbed.history.history.keys()
        assert trained.history.history["loss"] == pytest.approx(
            undisturbed.history.history["loss"], rel=1e-5
        )


@pytest.mark.slow
def test_callbacks_see_one_training(train, train_until_killed):
    class Calls(keras.callbacks.Callback):
        calls = ()

        def on_train_begin(self, logs=None):
            self.calls += ("begin",)

        def on_epoch_begin(self, epoch, logs=None):
            self.calls += (epoch, self.params["epochs"])

        def on_train_end(self, logs=None):
            self.calls += ("end",)

    train_until_killed("killed", 6, every_steps=1)
    calls = Calls()
    train("killed", calls)
    assert calls.calls == ("begin", 1, 3, 2, 3, "end")


@pytest.mark.slow
def test_finished_training_does_not_continue(train, assert_same):
    first = train("run")
    again = train("run")
    assert_same(again, first)
    seconds = first.training.state.seconds
    assert again.training.state.seconds == pytest.approx(seconds, abs=0.5)


@pytest.mark.slow
def test_checkpoints_are_written_by_minutes_by_steps_and_at_the_end(train, tmp_path):
    def steps(folder):
        return sorted(int(path.name.split("-")[1]) for path in (tmp_path / folder).iterdir())

    train("steps", every_steps=5)
    assert steps("steps") == [5, 10, 12]
    train("rare", every_minutes=60)
    assert steps("rare") == [12]
    train("frequent", every_minutes=0, keep=20)
    assert steps("frequent")[-1] == 12 and {4, 8} < set(steps("frequent"))
    train("reads", writes=False)
    assert not (tmp_path / "reads").exists()


@pytest.mark.slow
def test_training_that_a_callback_stops_resumes(train, assert_same):
    class StopAfterTwo(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    stopped = train("run", StopAfterTwo(), every_minutes=60)
    assert stopped.training.state.step == 8
    assert stopped.history.epoch == [0, 1]
    assert_same(train("run"), train("undisturbed"))


@pytest.mark.slow
def test_training_continues_after_a_failed_checkpoint(train, assert_same, monkeypatch, caplog):
    undisturbed = train("undisturbed")
    write = tf.train.Checkpoint.write
    failures = []

    def fail_twice(self, prefix):
        if len(failures) < 2:
            failures.append(prefix)
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")
        return write(self, prefix)

    monkeypatch.setattr(tf.train.Checkpoint, "write", fail_twice)
    assert_same(train("run", every_steps=3), undisturbed)
    assert caplog.text.count("could not be written: no space left on device") == 2
    assert caplog.text.count("Training continues and saves again later.") == 2
    monkeypatch.setattr(tf.train.Checkpoint, "write", lambda *_: fail_twice(failures.clear(), ""))
    with pytest.raises(atomic.WriteError, match="ckpt-12 could not be written"):
        train("never")


@pytest.mark.slow
def test_model_and_steps_per_epoch_must_stay(train, build, batches, tmp_path):
    train("run")
    training, model = keras_bt.ResumableTraining(tmp_path / "run"), build()
    training.restore(model)
    with pytest.raises(ValueError, match="steps_per_epoch must stay 4, .* got 6"):
        training.fit(batches, EPOCHS, 6)
    model.compile("sgd", hold_nonfinite=True)
    with pytest.raises(ValueError, match="compiled after restore\\(\\); call restore\\(\\) again"):
        training.fit(batches, EPOCHS, STEPS_PER_EPOCH)


@pytest.mark.slow
def test_wrong_arguments_are_refused(train):
    with pytest.raises(ValueError, match="on_nonfinite must be one of .*'stop'.*, got 'ignore'"):
        train("run", on_nonfinite="ignore")
    with pytest.raises(ValueError, match="every_steps must be at least 1, got 0"):
        train("run", every_steps=0)
    with pytest.raises(ValueError, match="every_minutes must be at least 0, got nan"):
        train("run", every_minutes=float("nan"))


@pytest.mark.slow
def test_unsupported_models_and_data_are_refused(train, build, batches):
    with pytest.raises(ValueError, match="compiled with hold_nonfinite=True"):
        train("run", model=build(hold_nonfinite=False))
    with pytest.raises(ValueError, match="steps_per_execution must be 1, got 2"):
        train("run", model=build(steps_per_execution=2))
    with pytest.raises(ValueError, match="must return endless data.* of 4 batches"):
        train("run", data=lambda step: batches(step).take(4))
    model = build()
    model.compile(keras.optimizers.Adam(gradient_accumulation_steps=2), hold_nonfinite=True)
    with pytest.raises(ValueError, match="'rewind' does not support gradient_accumulation_steps"):
        train("run", model=model, on_nonfinite="rewind")
    model.compile(keras.optimizers.Adam(use_ema=True), hold_nonfinite=True)
    with pytest.raises(ValueError, match="use_ema=True cannot be resumed"):
        train("run", model=model)


@pytest.mark.slow
def test_checkpoints_of_other_settings_or_models_are_refused(train):
    train("run", settings={"width": 4})
    with pytest.raises(CheckpointError, match="width: 4 before, 8 now"):
        train("run", settings={"width": 8})
    encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    other = keras_bt.BarlowTwins(
        encoder, keras_bt.projector(192, (4,)), keras_bt.small_image_views(8, seed=0)
    )
    other.compile("adam", hold_nonfinite=True)
    with pytest.raises(CheckpointError, match="ckpt-12 belongs to another model"):
        train("run", model=other, settings={"width": 4})


def test_workers_with_different_checkpoints_are_refused(train, monkeypatch):
    def gather(strategy, value):
        return [{"step of the checkpoint": 7}, value] if isinstance(value, dict) else [value]

    monkeypatch.setattr("keras_bt.distribution.workers.gather_from_workers", gather)
    with pytest.raises(CheckpointError, match="(?s)7 on worker 0, 0 on worker 1"):
        train("run")
