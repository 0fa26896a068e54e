"""Workers in one process; `processes` tests several."""

import pytest

import keras_bt
from keras_bt.distribution import workers


@pytest.fixture
def one():
    return keras_bt.strategy("one")


def test_error_on_a_worker_is_raised(one):
    def fail():
        raise OSError("no such file")

    for run in (workers.run_on_all_workers, workers.run_on_chief_first):
        with pytest.raises(ValueError, match="no such file"):
            run(one, fail)
        assert run(one, lambda: [1]) == [1]


def test_workers_run_after_the_chief(one, monkeypatch):
    calls = []
    monkeypatch.setattr(workers, "is_chief", lambda strategy: False)
    monkeypatch.setattr(
        workers, "gather_from_workers", lambda *_: calls.append("gathered") or [None]
    )
    assert workers.run_on_chief_first(one, lambda: calls.append("run") or 7) == 7
    assert calls == ["gathered", "run", "gathered"]


def test_workers_do_not_run_after_an_error_of_the_chief(one, monkeypatch):
    monkeypatch.setattr(workers, "is_chief", lambda strategy: False)
    monkeypatch.setattr(workers, "gather_from_workers", lambda *_: ["the disk is full", None])
    with pytest.raises(ValueError, match="the disk is full"):
        workers.run_on_chief_first(one, lambda: pytest.fail("run"))


def test_different_settings_are_named_by_worker(one, monkeypatch):
    settings = [{"seed": 0, "epochs": 3}, {"seed": 0, "epochs": 3}, {"seed": 1}]
    monkeypatch.setattr(workers, "gather_from_workers", lambda *_: settings)
    with pytest.raises(ValueError) as error:
        workers.check_agreement(one, settings[0])
    expected = "(epochs: 3 on worker 0, None on worker 2; seed: 0 on worker 0, 1 on worker 2)"
    assert expected in str(error.value)
