import types

import keras

from keras_bt.run import ProgressBar


def test_bar_shows_loss_floor_start_and_knn(tiny_model, images, capfd):
    model = tiny_model()
    model.compile("sgd")

    def add_knn(epoch, logs):
        logs["knn_accuracy"] = 0.875

    start = types.SimpleNamespace(loss=310.04)
    add = keras.callbacks.LambdaCallback(on_epoch_end=add_knn)
    callbacks = [add, ProgressBar(4, 1.25, start=start)]
    model.fit(images, batch_size=8, epochs=2, callbacks=callbacks, verbose=0)
    out, err = capfd.readouterr()
    last = err.splitlines()[-1]
    assert "4/4" in last and "floor=1.25" in last and "knn=0.875" in last and "loss=" in last
    assert "start=310" in last
    assert not out
