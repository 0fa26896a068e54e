import os
import time

import pytest
import tensorflow as tf

from keras_bt.config import speed
from keras_bt.config.named import recipes
from keras_bt.config.speed import measure_speed

TINY = {"width": 1, "projector_dims": (4,), "encoder": "conv4"}


@pytest.fixture
def fake_steps(monkeypatch):
    """Steps of a millisecond a view, on a clock that the test moves."""
    now, calls = [0.0], []

    def training_step(recipe):
        calls.append(recipe)

        def step(views):
            now[0] += 0.001 * views
            return 0.001 * views

        return step

    speed._seconds_per_image.cache_clear()
    monkeypatch.setattr(speed, "_training_step", training_step)
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    yield calls
    speed._seconds_per_image.cache_clear()


def test_an_image_is_two_views_and_is_measured_once(fake_steps):
    strategy, recipe = tf.distribute.get_strategy(), recipes["digits"].override(**TINY)
    views = speed.VIEW_SECONDS * 64 / len(os.sched_getaffinity(0))
    expected = 1 / (2 * (0.001 + views))
    assert measure_speed(recipe, strategy) == pytest.approx(expected)
    again = recipe.override(epochs=7, warmup_epochs=0.5, dataset="mine")
    assert measure_speed(again, strategy) == pytest.approx(expected)
    assert len(fake_steps) == 1
    measure_speed(recipe.override(width=2), strategy)
    assert len(fake_steps) == 2


@pytest.mark.slow
def test_a_real_measurement_takes_seconds_and_finds_the_smaller_network_faster():
    strategy, start = tf.distribute.get_strategy(), time.monotonic()
    small = recipes["cifar10"].override(encoder="conv4", width=4, projector_dims=(8,))
    speeds = [measure_speed(small.override(width=width), strategy) for width in (4, 64)]
    assert speeds[0] > 2 * speeds[1] > 0
    assert time.monotonic() - start < 120  # about eight, on a machine without other programs
