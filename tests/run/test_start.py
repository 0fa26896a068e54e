import pytest

from keras_bt.evaluation import EmbeddingHealth
from keras_bt.run import RunFolder, StartLoss


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run", {})


def health(untrained_loss=None):
    return EmbeddingHealth(None, batch_size=8, untrained_loss=untrained_loss)


def test_the_first_loss_is_kept_at_restarts(folder):
    first = health()
    start = StartLoss(folder, first)
    for loss in (None, 260.5):  # the first step was held
        first.untrained_loss = loss
        start.on_train_batch_end(0)
    assert folder.read("start") == {"untrained_loss": 260.5}
    again = health()
    assert StartLoss(folder, again).loss == again.untrained_loss == 260.5


def test_training_continues_when_the_disk_is_full(folder, monkeypatch, caplog):
    def full(path, content):
        raise OSError("No space left.")

    monkeypatch.setattr("keras_bt.run.folder.write_json", full)
    start = StartLoss(folder, health(260.5))
    for step in range(2):
        start.on_train_batch_end(step)
    assert start.loss == 260.5
    assert caplog.messages == ["No space left. Training continues."]
