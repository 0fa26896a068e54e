"""`Budget` under a clock that the test moves."""

import json
import types

import keras
import pytest

from keras_bt.data import digits
from keras_bt.model.optimizers import current_rate, warmup_cosine_share
from keras_bt.run.budget import Budget, Shares, check_budget, share_out
from keras_bt.run.plan import Plan


class State:
    """A training state with a clock that the test moves."""

    def __init__(self):
        self.step, self.seconds = 0, 0.0

    def elapsed(self):
        return self.seconds


@pytest.fixture
def train(monkeypatch):
    """Trains at given seconds a step, until the budget ends it."""
    monkeypatch.setattr("keras_bt.run.budget.workers.gather_from_workers", lambda _, value: [value])

    def train(plan, seconds_of_step, first_step_seconds=0.0, state=None):
        state, saved = state or State(), []
        budget = Budget(plan, state, 0.4, 0.1, save=lambda: saved.append(plan.settings()))
        optimizer = types.SimpleNamespace(learning_rate=None)
        budget.set_model(
            types.SimpleNamespace(
                optimizer=optimizer, stop_training=False, distribute_strategy=None
            )
        )
        budget.set_params({"epochs": 1_000_000, "steps": plan.steps_per_epoch})
        budget.on_train_begin()
        rates, epoch = [], state.step // plan.steps_per_epoch
        while not budget.model.stop_training:
            for batch in range(plan.steps_per_epoch):
                budget.on_train_batch_begin(batch)
                rates.append(optimizer.learning_rate)
                state.seconds += seconds_of_step(state.seconds)
                state.seconds += 0.0 if state.step else first_step_seconds
                budget.on_train_batch_end(batch)
                state.step += 1
            budget.on_epoch_end(epoch)
            epoch += 1
        return types.SimpleNamespace(state=state, rates=rates, saved=saved, params=budget.params)

    return train


def plan_of(seconds, steps_per_epoch=10, epochs=50):
    return Plan(epochs, steps_per_epoch, images=500, skipped_images=0, seconds=seconds)


@pytest.mark.parametrize("seconds_of_step", [0.3, 1.0, 2.5])
def test_a_training_takes_its_time_whatever_was_expected(train, seconds_of_step):
    plan = plan_of(500.0)  # 500 steps of a second were expected
    done = train(plan, lambda now: seconds_of_step, first_step_seconds=20.0)
    assert done.state.seconds == pytest.approx(500.0, abs=6 * seconds_of_step)
    assert done.state.step == plan.steps and done.params["epochs"] == plan.epochs
    assert done.rates[0] == 0.0 and done.rates[-1] < 0.002
    assert max(done.rates) == pytest.approx(0.4, rel=0.05)


@pytest.mark.parametrize(("before", "after"), [(1.0, 3.0), (1.0, 1 / 3)])
def test_a_machine_that_changes_its_speed_threefold_keeps_the_time(train, before, after):
    done = train(plan_of(500.0), lambda now: before if now < 250 else after)
    assert done.state.seconds == pytest.approx(500.0, rel=0.05)
    falling = done.rates[done.rates.index(max(done.rates)) :]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] < 0.005


def test_a_resumed_training_goes_on_with_its_plan(train):
    plan = plan_of(500.0)
    whole = train(plan, lambda now: 1.5)
    assert [json.loads(json.dumps(each)) for each in whole.saved]
    again = Plan(**json.loads(json.dumps(plan.settings())))
    for step in range(0, plan.steps, 7):
        assert again.progress(step) == plan.progress(step)
    state = State()
    state.step, state.seconds = 200, 300.0
    rest = train(again, lambda now: 1.5, state=state)
    assert rest.state.seconds == pytest.approx(500.0, abs=10.0)
    assert rest.rates[0] == whole.rates[200]


def test_the_rate_is_that_of_the_schedule():
    from keras_bt.model.optimizers import warmup_cosine

    schedule = warmup_cosine(0.4, warmup_steps=20, total_steps=100)
    for step in range(101):
        expected = float(schedule(step))
        assert 0.4 * warmup_cosine_share(step / 100, 0.2) == pytest.approx(expected, abs=1e-6)


def test_progress_is_continuous_and_forgets_changes_that_are_ahead():
    plan = plan_of(100.0)
    assert (plan.progress(0), plan.progress(250), plan.progress(500)) == (0.0, 0.5, 1.0)
    plan.change(100, epochs=30)
    assert plan.progress(100) == pytest.approx(0.2)
    assert plan.progress(200) == pytest.approx(0.6) and plan.progress(300) == 1.0
    plan.change(200, epochs=40)
    plan.change(150, epochs=20)  # resumed from step 100
    assert plan.progress(150) == pytest.approx(0.4)
    assert plan.progress(200) == 1.0 and len(plan.changes) == 3


def test_plans_of_older_runs_are_read():
    old = {"epochs": 3, "steps_per_epoch": 4, "images": 16, "skipped_images": 0}
    plan = Plan(**old)
    assert (plan.steps, plan.seconds, plan.progress(6)) == (12, None, 0.5)


def test_shares_fill_the_budget_and_too_short_a_budget_names_the_least():
    shares = share_out(5.0, gone=10.0, scored=digits())
    assert shares.gone + shares.baselines + shares.training + shares.final == 300.0
    check_budget(5.0, shares, images=1437, speed=1000.0)
    short = share_out(0.5, gone=10.0, scored=digits())
    with pytest.raises(ValueError, match="--minutes=0.5 is too short: .* give at least") as error:
        check_budget(0.5, short, images=1437, speed=1000.0)
    least = float(str(error.value).split()[-1].rstrip("."))
    check_budget(least, share_out(least, gone=10.0, scored=digits()), images=1437, speed=1000.0)
    check_budget(5.0, shares, images=10**9, speed=1000.0)  # not even one pass, but enough of it
    with pytest.raises(ValueError, match="10,000 images 1000; give at least"):
        check_budget(5.0, shares, images=10**9, speed=10.0)
    assert Shares(5.0, 65.0, 3600.0, 1.0).in_words == (
        "Start 0:05, baselines 1:05, training 60:00, scores and report 0:01."
    )


@pytest.mark.slow
def test_the_rate_is_set_and_fit_ends_under_a_strategy(tiny_model, images):
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        model = tiny_model()
        model.compile(keras.optimizers.SGD(0.1))
    state = State()
    budget = Budget(plan_of(3.0, 2, 5), state, 0.4, 0.1, save=lambda: None)
    clock = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(state, "seconds", state.seconds + 1.0)
    )
    counter = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(state, "step", state.step + 1)
    )
    batches = tf.data.Dataset.from_tensors(images[:8]).repeat()
    history = model.fit(
        batches, epochs=100, steps_per_epoch=2, callbacks=[clock, budget, counter], verbose=0
    )
    assert len(history.epoch) == 3
    assert 0.0 < current_rate(model.optimizer) < 0.4
