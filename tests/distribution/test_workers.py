"""On one process; tests/distributed has several."""

import pytest

import keras_bt
from keras_bt.distribution import workers


@pytest.fixture
def one():
    return keras_bt.strategy("one")


def test_what_fails_on_a_worker_is_told(one):
    def fail():
        raise OSError("no such file")

    for way in (workers.run_on_all_workers, workers.run_on_chief_first):
        with pytest.raises(ValueError, match="no such file"):
            way(one, fail)
        assert way(one, lambda: [1]) == [1]


def test_the_others_follow_the_chief(one, monkeypatch):
    done = []
    monkeypatch.setattr(workers, "is_chief", lambda strategy: False)
    monkeypatch.setattr(
        workers, "gather_from_workers", lambda *_: done.append("collected") or [None]
    )
    assert workers.run_on_chief_first(one, lambda: done.append("acted") or 7) == 7
    assert done == ["collected", "acted", "collected"]


def test_the_chiefs_failure_keeps_the_others_from_acting(one, monkeypatch):
    monkeypatch.setattr(workers, "is_chief", lambda strategy: False)
    monkeypatch.setattr(workers, "gather_from_workers", lambda *_: ["the disk is full", None])
    with pytest.raises(ValueError, match="the disk is full"):
        workers.run_on_chief_first(one, lambda: pytest.fail("acted"))


def test_disagreement_names_who_and_what(one, monkeypatch):
    told = [{"seed": 0, "epochs": 3}, {"seed": 0, "epochs": 3}, {"seed": 1}]
    monkeypatch.setattr(workers, "gather_from_workers", lambda *_: told)
    with pytest.raises(ValueError) as error:
        workers.check_agreement(one, told[0])
    assert str(error.value).splitlines()[1:] == [
        "  epochs: 3 on worker 0, None on worker 2",
        "  seed: 0 on worker 0, 1 on worker 2",
    ]
