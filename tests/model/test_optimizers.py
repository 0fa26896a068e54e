"""LARS and the learning rate schedule against golden numbers of the official code."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.model.optimizers import current_rate, warmup_cosine

SCHEDULE = json.loads((Path(__file__).parents[1] / "golden" / "schedule.json").read_text())


@keras.saving.register_keras_serializable(package="test")
class Table(keras.optimizers.schedules.LearningRateSchedule):
    """Given rates, one a step."""

    def __init__(self, rates):
        self.rates = list(rates)

    def __call__(self, step):
        return tf.gather(tf.constant(self.rates, tf.float32), tf.cast(step, tf.int32))

    def get_config(self):
        return {"rates": self.rates}


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_lars_follows_the_golden_trajectory(golden, jit_compile):
    numbers = golden("lars.npz")
    rates = [float(numbers[f"lr_weights_{t}"]) for t in range(8)]
    ratio = float(numbers["lr_biases_3"] / numbers["lr_weights_3"])
    for t in range(8):
        assert numbers[f"lr_biases_{t}"] == pytest.approx(ratio * rates[t], rel=1e-6)
    variables = {name: keras.Variable(numbers[f"{name}0"], dtype="float32") for name in "wzb"}
    optimizer = keras_bt.LARS(
        Table(rates),
        momentum=float(numbers["momentum"]),
        weight_decay=float(numbers["weight_decay"]),
        trust_coefficient=float(numbers["eta"]),
        bias_learning_rate_ratio=ratio,
    )
    optimizer.build(list(variables.values()))

    @tf.function(jit_compile=jit_compile)
    def step(gradients):
        optimizer.apply(gradients, list(variables.values()))

    for t in range(8):
        step([tf.constant(numbers[f"g_{name}_{t}"], tf.float32) for name in "wzb"])
        for name, variable in variables.items():
            expected = numbers[f"{name}_{t + 1}"]
            np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5, atol=1e-7)


def test_weight_decay_is_part_of_the_adapted_direction():
    weight = keras.Variable([[3.0, 4.0]])
    optimizer = keras_bt.LARS(1.0, momentum=0.0, weight_decay=0.5, trust_coefficient=0.1)
    optimizer.apply([tf.constant([[1.0, 0.0]])], [weight])
    direction = np.array([1.0 + 1.5, 2.0])
    expected = np.array([3.0, 4.0]) - 0.1 * 5.0 * direction / np.linalg.norm(direction)
    np.testing.assert_allclose(weight.numpy()[0], expected, rtol=1e-6)


def test_excluded_weights_are_not_decayed():
    weights = [keras.Variable([[3.0, 4.0]]) for _ in range(2)]
    optimizer = keras_bt.LARS(1.0, momentum=0.0, weight_decay=0.5, trust_coefficient=0.1)
    optimizer.exclude_from_weight_decay(var_list=weights[:1])
    optimizer.apply([tf.constant([[1.0, 0.0]])] * 2, weights)
    np.testing.assert_allclose(weights[0].numpy(), [[3.0 - 0.1 * 5.0, 4.0]], rtol=1e-6)
    assert weights[1].numpy()[0, 1] < 4.0


@pytest.mark.slow
def test_lars_trains_an_ordinary_keras_model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras_bt.LARS(0.5, trust_coefficient=0.05), loss="mse")
    x = np.float32(np.eye(3))
    history = model.fit(x, x[:, :2], epochs=60, verbose=0).history["loss"]
    assert history[-1] < 0.7 * history[0]


@pytest.mark.parametrize("case", SCHEDULE, ids=lambda case: f"{case['epochs']}-{case['step']}")
def test_schedule_matches_golden_rates(case):
    peak = 0.2 * case["batch_size"] / 256
    steps_per_epoch = case["steps_per_epoch"]
    schedule = warmup_cosine(
        peak, case["warmup_epochs"] * steps_per_epoch, case["epochs"] * steps_per_epoch
    )
    rate = float(schedule(case["step"]))
    assert rate == pytest.approx(case["lr_weights"], rel=1e-4, abs=1e-7)
    assert 0.024 * rate == pytest.approx(case["lr_biases"], rel=1e-4, abs=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_schedule_equals_keras_cosine_decay(dtype):
    schedule = warmup_cosine(0.3, 7, 50)
    keras_schedule = keras.optimizers.schedules.CosineDecay.from_config(schedule.get_config())
    steps = tf.range(60, dtype=dtype)
    ours = [float(schedule(step)) for step in steps]
    expected = [float(keras_schedule(step)) for step in steps]
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    reloaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert [float(reloaded(step)) for step in steps] == ours


def test_schedule_without_warm_up_and_after_its_end():
    schedule = warmup_cosine(0.5, 0, 10)
    assert float(schedule(0)) == pytest.approx(0.5)
    assert float(schedule(10)) == float(schedule(25)) == pytest.approx(0.0005)


@pytest.mark.parametrize("warmup_steps", [-1, 10, 11])
def test_schedule_needs_a_step_after_the_warm_up(warmup_steps):
    with pytest.raises(ValueError, match=rf"\[0, total_steps\), got {warmup_steps} of 10"):
        warmup_cosine(0.5, warmup_steps, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1.0"),
        ({"weight_decay": -1e-6}, "weight_decay must be at least 0"),
        ({"trust_coefficient": 0}, "trust_coefficient must be above 0"),
        ({"bias_learning_rate_ratio": 0}, "bias_learning_rate_ratio must be above 0"),
    ],
)
def test_wrong_arguments_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        keras_bt.LARS(0.1, **arguments)


@pytest.mark.parametrize("scheduled", [False, True])
def test_the_current_rate_is_known_in_any_strategy(scheduled):
    rate = warmup_cosine(0.5, 0, 10) if scheduled else 0.5
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        assert current_rate(keras.optimizers.SGD(rate)) == 0.5
    assert current_rate(keras.optimizers.SGD(rate)) == 0.5
