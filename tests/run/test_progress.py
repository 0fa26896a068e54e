import json
import types

import keras
import pytest

from keras_bt.run import EpochLines, ProgressBar


@pytest.mark.slow
def test_the_bar_shows_loss_floor_start_and_knn(tiny_model, images, capfd):
    model = tiny_model()
    model.compile("sgd")

    def add_knn(epoch, logs):
        logs["knn_accuracy"] = 0.875

    start = types.SimpleNamespace(loss=310.04, untrained_accuracy=(0.5, 100))
    add = keras.callbacks.LambdaCallback(on_epoch_end=add_knn)
    callbacks = [add, ProgressBar(8, 1.25, start=start)]
    model.fit(images, batch_size=8, epochs=2, callbacks=callbacks, verbose=0)
    out, err = capfd.readouterr()
    last = err.splitlines()[-1]
    assert "4/4" in last and "floor=1.25" in last and "knn=0.875" in last and "loss=" in last
    assert "start=310" in last and "untrained=0.500" in last
    assert not out


@pytest.mark.slow
def test_json_has_a_line_per_epoch_with_the_time_left(tiny_model, images, capsys):
    model = tiny_model()
    model.compile("sgd", run_eagerly=True)
    lines = EpochLines(8, 1.25, start=types.SimpleNamespace(loss=310.04))
    model.fit(images, batch_size=8, epochs=2, callbacks=[lines], verbose=0)
    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["epoch"], first["epochs"], last["epoch"]) == (1, 2, 2)
    assert (first["loss_floor"], first["untrained_loss"]) == (1.25, 310.04)
    assert first["loss"] > 0 and first["images_per_second"] > 0
    assert first["seconds_left"] == pytest.approx(16 / first["images_per_second"], abs=0.1)
    assert last["seconds_left"] == 0
