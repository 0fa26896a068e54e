import os

import keras
import pytest

from keras_bt.report import writer
from keras_bt.report.writer import SHARE, ReportWriter


class Clock:
    """A time that only passes where it is told to."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(writer, "time", clock)
    return clock


def test_pages_take_a_hundredth_of_the_time(tmp_path, clock, monkeypatch):
    written = []

    def write_page(folders, file):
        written.append(clock.now)
        clock.now += 3.0

    monkeypatch.setattr(writer, "write_page", write_page)
    page = ReportWriter(tmp_path)
    began = clock.now
    page.on_train_begin()
    for epoch in range(1000):
        page.on_epoch_begin(epoch)
        clock.now += 10.0
    assert 25 < len(written) < 35
    assert 3.0 * len(written) / (clock.now - began) <= SHARE
    assert written[0] - began < 600


def test_a_page_that_cannot_be_written_ends_no_training(tiny_model, images, tmp_path, caplog):
    model = tiny_model()
    model.compile("sgd", run_eagerly=True)
    page = ReportWriter(tmp_path / "no run")
    due = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: setattr(page, "_due", 0.0))
    history = model.fit(images, batch_size=8, epochs=2, callbacks=[due, page], verbose=0)
    assert len(history.epoch) == 2
    assert "report.html could not be made" in caplog.text and "no run.json" in caplog.text


def test_a_training_that_ends_early_leaves_its_page(tiny_model, images, run_folder):
    model = tiny_model()
    model.compile("sgd", run_eagerly=True)
    folder = run_folder(finished=False)
    for epochs, expected in ((1, False), (2, True)):
        stop = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda *_: setattr(model, "stop_training", True)
        )
        callbacks = [stop, ReportWriter(folder)]
        model.fit(images, batch_size=8, epochs=epochs, callbacks=callbacks, verbose=0)
        assert (folder / "report.html").exists() == expected


def test_a_page_older_than_the_result_is_written_again(run_folder):
    folder = run_folder()
    page = ReportWriter(folder)
    page.write_if_older()
    there = page.file.read_text()
    page.file.write_text("newer")
    page.write_if_older()
    assert page.file.read_text() == "newer"
    os.utime(page.file, (0, 0))
    page.write_if_older()
    assert page.file.read_text() == there
