import pytest

from keras_bt.training import schedule
from keras_bt.training.schedule import CheckpointSchedule


@pytest.fixture
def clock(monkeypatch):
    """Sets the time, in seconds."""

    def set_clock(seconds):
        monkeypatch.setattr(schedule.time, "monotonic", lambda: seconds)

    set_clock(0.0)
    return set_clock


def test_checkpoint_is_due_by_minutes_or_by_steps(clock):
    by_minutes = CheckpointSchedule(0, every_minutes=2.0, every_steps=None)
    by_either = CheckpointSchedule(0, every_minutes=2.0, every_steps=10)
    clock(119.0)
    assert not by_minutes.is_due(10**6)
    assert not by_either.is_due(9) and by_either.is_due(10)
    clock(120.0)
    assert by_minutes.is_due(0) and by_either.is_due(0)
    by_minutes.record_saved(3)
    assert not by_minutes.is_due(5)


@pytest.mark.parametrize("every_minutes", [0.0, 0.5, 60.0])
def test_failed_checkpoint_is_due_again_in_a_minute(clock, every_minutes):
    checkpoints = CheckpointSchedule(0, every_minutes, every_steps=None)
    clock(10_000.0)
    checkpoints.record_failed(0)
    clock(10_059.0)
    assert not checkpoints.is_due(1)
    clock(10_060.0)
    assert checkpoints.is_due(1)


def test_synchronizations_are_about_a_second_apart(clock):
    steps = CheckpointSchedule(0, every_minutes=60.0, every_steps=None)
    clock(4.0)
    assert steps.steps_until_sync(1) == 1
    clock(5.0)
    assert steps.steps_until_sync(21) == 20
    steps.every_steps = 25
    clock(6.0)
    assert steps.steps_until_sync(23) == 2
