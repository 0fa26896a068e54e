import pytest

from keras_bt.run import RunFolder, StartLoss


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run", {})


def test_the_first_loss_stays_over_restarts(folder):
    start = StartLoss(folder, first_step=0)
    for loss in (0.0, 260.5, 21.4):  # the first step was held
        start.on_train_batch_end(0, {"loss": loss})
    assert start.loss == 260.5
    again = StartLoss(folder, first_step=12)
    again.on_train_batch_end(0, {"loss": 21.0})
    assert again.loss == 260.5
    assert folder.read("start") == {"untrained_loss": 260.5}


def test_a_loss_later_on_is_not_taken_for_the_first(folder):
    start = StartLoss(folder, first_step=12)
    start.on_train_batch_end(0, {"loss": 21.0})
    assert start.loss is None and folder.read("start") is None


def test_a_full_disk_does_not_end_the_training(folder, monkeypatch, caplog):
    def full(path, content):
        raise OSError("No space left.")

    monkeypatch.setattr("keras_bt.run.folder.write_json", full)
    start = StartLoss(folder, first_step=0)
    start.on_train_batch_end(0, {"loss": 260.5})
    assert start.loss == 260.5
    assert caplog.messages == ["No space left. Training goes on."]
