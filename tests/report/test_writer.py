import os

import keras
import pytest

from keras_bt.report import writer
from keras_bt.report.writer import REPORT_TIME_SHARE, ReportWriter


class Clock:
    """A replacement of `time` that tests advance themselves."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(writer, "time", clock)
    return clock


def test_reports_take_at_most_one_percent_of_the_time(tmp_path, clock, monkeypatch):
    written = []

    def write_report(folders, file):
        written.append(clock.now)
        clock.now += 3.0

    monkeypatch.setattr(writer, "write_report", write_report)
    report_writer = ReportWriter(tmp_path)
    start = clock.now
    report_writer.on_train_begin()
    for epoch in range(1000):
        report_writer.on_epoch_begin(epoch)
        clock.now += 10.0
    assert 25 < len(written) < 35
    assert 3.0 * len(written) / (clock.now - start) <= REPORT_TIME_SHARE
    assert written[0] - start < 600


@pytest.mark.slow
def test_training_continues_if_the_report_cannot_be_written(tiny_model, images, tmp_path, caplog):
    model = tiny_model()
    model.compile("sgd", run_eagerly=True)
    report_writer = ReportWriter(tmp_path / "no run")
    due = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: setattr(report_writer, "_next_time", 0.0)
    )
    history = model.fit(images, batch_size=8, epochs=2, callbacks=[due, report_writer], verbose=0)
    assert len(history.epoch) == 2
    assert (
        "report.html could not be written" in caplog.text and "run.json is missing" in caplog.text
    )


@pytest.mark.slow
def test_writes_the_report_if_training_stops_early(tiny_model, images, run_folder):
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


@pytest.mark.slow
def test_write_if_older_replaces_only_outdated_reports(run_folder):
    folder = run_folder()
    report_writer = ReportWriter(folder)
    report_writer.write_if_older()
    expected = report_writer.file.read_text()
    report_writer.file.write_text("newer")
    report_writer.write_if_older()
    assert report_writer.file.read_text() == "newer"
    os.utime(report_writer.file, (0, 0))
    report_writer.write_if_older()
    assert report_writer.file.read_text() == expected
